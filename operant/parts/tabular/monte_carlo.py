"""What Monte-Carlo learners share: returns of whole episodes, first visits, and episodes learned from backwards."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Window
from operant.equations import discounted_returns
from operant.errors import OperantError

Visits: TypeAlias = Literal["first", "every"]
T = TypeVar("T")


def check_choice(name: str, given: str, *known: str) -> None:
    """Raise `OperantError` where the field `name` is not one of `known`."""
    if given not in known:
        raise OperantError(f"unknown {name} {given!r}: known are {', '.join(known)}")


def episode_returns(window: Window, next_values: Array, discount: Array | float) -> Array:
    """G_t of each step of whole episodes, `[T, B]`.

    `next_values` `[T, B]`, estimates for the states that followed, count only where an episode was cut: its return
    ends with one of them, as there is nothing else to know. What ended by itself does not read them.
    """
    steps = window.steps
    return discounted_returns(steps.reward, next_values, steps.continues, steps.last, discount)


def visited(visits: Visits, entries: Array, valid: Array, size: int) -> Array:
    """1 for the steps that count, 0 for the others, float32 `[T, B]`.

    `entries` int32 `[T, B]` number what is visited (states, or states with actions), below `size`. First-visit
    methods count an entry once in an episode, at the earliest step; every-visit methods count all `valid` steps.
    """
    if visits == "every":
        return valid.astype(jnp.float32)
    length, envs = entries.shape
    times, columns = jnp.arange(length)[:, None], jnp.arange(envs)[None]
    earliest = jnp.full((size, envs), length).at[entries, columns].min(jnp.where(valid, times, length))
    return (valid & (earliest[entries, columns] == times)).astype(jnp.float32)


def backwards(
    update: Callable[[T, Any], T], state: T, rows: Any, valid: Array, each: Callable[[T], T] = lambda s: s
) -> T:
    """`state` after `update(state, row)` for every valid step, from an episode's last to its first.

    `rows` have leaves `[T, B, ...]`, `update` sees one step of one. Episodes come one after the other, and `each` is
    applied before every one.
    """
    lengths = jnp.sum(valid, axis=0, dtype=jnp.int32)

    def episode(slot: Array, state: T) -> T:
        def step(k: Array, state: T) -> T:
            t = lengths[slot] - 1 - k
            return update(state, jax.tree.map(lambda leaf: leaf[t, slot], rows))

        return jax.lax.fori_loop(0, lengths[slot], step, each(state))

    return jax.lax.fori_loop(0, valid.shape[1], episode, state)
