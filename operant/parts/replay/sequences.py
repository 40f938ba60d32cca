"""Sequences in a replay, for learners with memory: one row is a stretch of one environment's stream.

A row is a window's steps, with as many of the steps before them as memory is warmed on, and the memory before the first
of all these (Kapturowski et al. 2019, section 3). So every step is learned from once a row, whatever the warming, and
a row needs no other. Episodes begin and end anywhere within it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec, Window
from operant.parts.encoders import encode, example
from operant.parts.masks import legal_actions


class Sequence(NamedTuple):
    """One row of the replay: `burn_in` steps to warm memory on, and then T to learn from."""

    memory: Any  # before the first step
    observation: Any  # [burn_in + T, ...]
    last: Array  # bool [burn_in + T]: memory starts anew after the step
    action: Array  # [T, ...], and so all that follow
    reward: Array
    continues: Array
    next_observation: Any


class Earlier(NamedTuple):
    """The last `burn_in` steps of each stream, `[slots, ...]`; zeros are the start of an episode."""

    memory: Any  # before the first of them
    observation: Any  # [slots, burn_in, ...]
    goes_on: Array  # bool [slots, burn_in]: the episode did not end with the step


class Batch(NamedTuple):
    """A minibatch, time-major."""

    memory: Any  # [B, ...]
    features: Array  # [burn_in + T, B, ...]
    last: Array  # [burn_in + T, B]
    action: Array  # [T, B], and so all that follow
    reward: Array
    continues: Array
    following: Array  # features of the true next observation
    legal: Array | None = None  # bool [T, B, A]: which actions were, None where there is no mask
    legal_then: Array | None = None  # and in what followed


def example_of(memory: Any, spec: Spec, num_steps: int, burn_in: int) -> tuple[Sequence, Any]:
    """A row of zeros, and what streams carry at the start of an episode; `memory` is that of one environment."""

    def repeated(*lead: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), example(spec.observation_space))

    nothing = jax.tree.map(jnp.zeros_like, memory)
    zeros, whole = jnp.zeros(num_steps), burn_in + num_steps
    row = Sequence(
        nothing, repeated(whole), jnp.zeros(whole, bool), jnp.int32(zeros), zeros, zeros, repeated(num_steps)
    )
    if not burn_in:
        return row, ()
    envs = spec.num_envs
    memories = jax.tree.map(lambda leaf: jnp.zeros((envs, *leaf.shape), leaf.dtype), memory)
    return row, Earlier(memories, repeated(envs, burn_in), jnp.zeros((envs, burn_in), bool))


def rows_of(window: Window, carried: Any) -> tuple[Sequence, Any]:
    """A window's steps as one row for each environment, leaves `[B, ...]`; and `carried` afterwards.

    `steps.extras` are the memories before each step. `carried`: `Earlier`, or `()` without warming.
    """
    steps = window.steps
    told = steps.observation, ~steps.last, steps.action, steps.reward, steps.continues, steps.next_observation
    observation, goes_on, *rest = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), told)
    memory = window.memory
    if jax.tree.leaves(carried):
        before = jax.tree.map(lambda leaf: leaf[window.slots], carried)
        burn_in, memory = before.goes_on.shape[1], before.memory
        join = lambda old, new: jnp.concatenate([old, new], axis=1)  # noqa: E731
        now = Earlier(
            jax.tree.map(lambda leaf: leaf[-burn_in], steps.extras),
            *jax.tree.map(lambda leaf: leaf[:, -burn_in:], (observation, goes_on)),
        )
        carried = jax.tree.map(lambda whole, part: whole.at[window.slots].set(part), carried, now)
        observation, goes_on = jax.tree.map(join, (before.observation, before.goes_on), (observation, goes_on))
    return Sequence(memory, observation, ~goes_on, *rest), carried


def minibatch(rows: Sequence, spec: Spec) -> Batch:
    """`rows`, leaves `[B, ...]`, as a minibatch."""
    memory, *rest = rows
    observation, last, action, reward, continues, after = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), rest)
    features, following = (encode(spec.observation_space, seen) for seen in (observation, after))
    legal, legal_then = (legal_actions(spec.observation_space, seen) for seen in (observation, after))
    legal = None if legal is None else legal[-len(action) :]
    return Batch(memory, features, last, action, reward, continues, following, legal, legal_then)
