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
from operant.parts.masks import legal_actions
from operant.parts.replay.uniform import Replay


class Transition(NamedTuple):
    """One row of the replay."""

    observation: Any
    action: Array
    reward: Array
    continues: Array
    next_observation: Any
    begins: Any = ()  # bool: the row before it in its stream is of another episode; kept for several steps


class Stretch(NamedTuple):
    """Rows, and the steps that followed each of them, `[B, ...]`."""

    first: Transition
    more: tuple[tuple[Array, Array], ...] = ()  # of each further step: whether it goes on so far (bool), and the reward
    count: Any = ()  # int32: how many steps there are
    last: Any = ()  # the row of the last of them, where there may be more than one


class Batch(NamedTuple):
    """A minibatch, `[B, ...]`."""

    features: Array
    action: Array
    reward: Array  # of one step, or R_1 + discount R_2 + ... + discount^(k-1) R_k
    discount: Array  # of what followed: discount^k, 0 where that is terminal
    following: Array  # features of the true next observation, or of the k-th
    legal: Array | None = None  # bool [B, A]: which actions were, None where there is no mask
    legal_then: Array | None = None  # and in what followed


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


def stretches(replay: Replay, state: Any, index: Array, n_step: int, spec: Spec) -> Stretch:
    """Of each row at `index` `[B]` what up to `n_step` steps brought, itself included.

    A stretch stops at the end of its episode and at the newest row.
    """
    first, more, going, count = replay.rows(state, index), [], True, 1
    for k in range(1, n_step):
        place, there = replay.later(state, index, k * spec.num_envs)
        row = replay.rows(state, place)
        going = there & ~row.begins & going
        count = count + going.astype("int32")
        more.append((going, row.reward))
    if not more:
        return Stretch(first)
    place, _ = replay.later(state, index, (count - 1) * spec.num_envs)
    return Stretch(first, tuple(more), count, replay.rows(state, place))


def minibatch(stretch: Stretch, discount: Array | float, spec: Spec) -> Batch:
    """The rows of `stretch` with their returns: of fewer rewards, k, where it stopped, and with discount^k then."""
    first, last, reward, power = stretch.first, stretch.first, stretch.first.reward, discount
    for k, (going, later) in enumerate(stretch.more, 1):
        reward = reward + jnp.where(going, discount**k * later, 0.0)
    if stretch.more:
        last, power = stretch.last, jnp.asarray(discount, jnp.float32) ** stretch.count
    ends = first.observation, last.next_observation
    features, following = (encode(spec.observation_space, x) for x in ends)
    legal = (legal_actions(spec.observation_space, x) for x in ends)
    return Batch(features, first.action, reward, power * last.continues, following, *legal)
