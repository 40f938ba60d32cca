"""A model of the world as tables: for every state and action, what followed the last time it was tried."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.parts.tabular.tables import read


class Outcome(NamedTuple):
    """What the model expects of a state and action; scalars, or `[S, A]` for all of them."""

    reward: Array
    continues: Array  # 0 where the next state is terminal
    next_state: Array  # int32


class Model(NamedTuple):
    """The latest outcomes, a deterministic model (Sutton & Barto 2018, section 8.2)."""

    outcomes: Outcome  # [S, A]
    tried: Array  # bool [S, A]


def fresh_model(shape: tuple[int, int]) -> Model:
    """Nothing tried; until then every action is expected to stay where it is and to be paid nothing."""
    stay = jnp.broadcast_to(jnp.arange(shape[0], dtype=jnp.int32)[:, None], shape)
    return Model(Outcome(jnp.zeros(shape), jnp.ones(shape), jnp.copy(stay)), jnp.zeros(shape, bool))


def remember(model: Model, state: Array, action: Array, outcome: Outcome) -> Model:
    """`model` after the transition `(state, action) -> outcome`."""
    (rewards, continues, targets), tried = model
    at = state, action
    new = Outcome(
        rewards.at[at].set(outcome.reward, mode="promise_in_bounds"),
        continues.at[at].set(outcome.continues, mode="promise_in_bounds"),
        targets.at[at].set(outcome.next_state, mode="promise_in_bounds"),
    )
    return Model(new, tried.at[at].set(True, mode="promise_in_bounds"))


def recall(model: Model, state: Array, action: Array) -> Outcome:
    """What `model` expects of `action` in `state`."""
    return Outcome(*(read(table, state, action) for table in model.outcomes))
