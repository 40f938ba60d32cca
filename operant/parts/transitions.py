"""Transitions in a replay, and minibatches of them with returns of one or of several steps.

Several steps are put together when a minibatch is drawn, from the rows that followed: so no row waits for its
successors, and what is cut off by the newest row is a return of fewer steps. Streams are interleaved in the replay:
the step after a row's lies as many rows further as there are environments. The columns of every window must be the
same streams in the same order.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec, Window
from operant.parts.encoders import encode, example
from operant.parts.replay import Replay


class Transition(NamedTuple):
    """One row of the replay."""

    observation: Any
    action: Array
    reward: Array
    continues: Array
    next_observation: Any
    begins: Any = ()  # bool: the row before it in its stream is of another episode; kept for several steps


class Batch(NamedTuple):
    """A minibatch, `[B, ...]`."""

    features: Array
    action: Array
    reward: Array  # of one step, or R_1 + discount R_2 + ... + discount^(k-1) R_k
    discount: Array  # of what followed: discount^k, 0 where that is terminal
    following: Array  # features of the true next observation, or of the k-th


def example_of(spec: Spec, n_step: int) -> tuple[Transition, Any]:
    """A row of zeros, and what streams carry at the start of an episode."""
    observation, zero = example(spec.observation_space), jnp.float32(0.0)
    row = Transition(observation, jnp.int32(0), zero, zero, observation)
    if n_step == 1:
        return row, ()
    return row._replace(begins=jnp.bool_(False)), jnp.zeros(spec.num_envs, bool)


def rows_of(window: Window, carried: Any) -> tuple[Transition, Any]:
    """A window's steps as rows `[T * B, ...]`, time by time; and `carried` afterwards.

    `carried` bool `[slots]`, or `()` for one step: whether a stream's next step continues its last one. Zeros are the
    start of an episode, so that a driver whose environments were reset between two windows cuts streams by clearing it.
    """
    steps, begins = window.steps, ()
    if jax.tree.leaves(carried):
        last = steps.last
        begins = jnp.concatenate([~carried[window.slots][None], last[:-1]])
        carried = carried.at[window.slots].set(~last[-1])
    rows = Transition(steps.observation, steps.action, steps.reward, steps.continues, steps.next_observation, begins)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows), carried


def minibatch(replay: Replay, state: Any, index: Array, n_step: int, discount: Array | float, spec: Spec) -> Batch:
    """The rows at `index` `[B]` with returns of up to `n_step` steps.

    A return stops at the end of its episode and at the newest row: it then has fewer rewards, k, and the power of
    `discount` that belongs to them.
    """
    first = last = replay.rows(state, index)
    reward, power = first.reward, discount
    if n_step > 1:
        going, count = jnp.ones(index.shape, bool), jnp.ones(index.shape, jnp.int32)
        for k in range(1, n_step):
            place, there = replay.later(state, index, k * spec.num_envs)
            row = replay.rows(state, place)
            going = going & there & ~row.begins
            reward = reward + jnp.where(going, discount**k * row.reward, 0.0)
            count = count + going
        place, _ = replay.later(state, index, (count - 1) * spec.num_envs)
        last, power = replay.rows(state, place), jnp.asarray(discount, jnp.float32) ** count
    features, following = (encode(spec.observation_space, x) for x in (first.observation, last.next_observation))
    return Batch(features, first.action, reward, power * last.continues, following)
