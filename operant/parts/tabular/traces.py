"""Eligibility traces over a table (Sutton & Barto 2018, sections 12.2, 12.5 and 12.7)."""

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from operant.parts.tabular.tables import read

Traces: TypeAlias = Literal["accumulating", "replacing", "dutch"]


class Trace(NamedTuple):
    """How much each entry of a table is to learn from the present error; of one stream."""

    eligibility: Array  # shaped as the table
    before: Array  # what the present entry was worth before the last update (the book's V_old), for dutch traces

    @staticmethod
    def none(num_envs: int, *shape: int) -> "Trace":
        """Of each of `num_envs` streams, none."""
        return Trace(jnp.zeros((num_envs, *shape)), jnp.zeros(num_envs))

    def learn(
        self,
        kind: Traces,
        table: Array,
        place: tuple,
        target: Array,
        following: Array,
        alpha: Array,
        decay: Array | float,
    ) -> tuple[Array, "Trace", Array]:
        """Table, trace and error after a visit of the entry at `place`, whose one-step return is `target`.

        `following` is the value that the target bootstraps from, 0 after a terminal state; `decay` is what is left of
        the trace, discount x lambda. With dutch traces this is the true online method (van Seijen et al. 2016).
        """
        faded, value = decay * self.eligibility, read(table, *place)
        error = target - value
        if kind == "accumulating":
            trace = faded.at[place].add(1.0)
            return table + alpha * error * trace, Trace(trace, following), error
        if kind == "replacing":
            trace = faded.at[place].set(1.0)
            return table + alpha * error * trace, Trace(trace, following), error
        trace = faded.at[place].add(1.0 - alpha * read(faded, *place))
        moved = value - self.before
        table = (table + alpha * (error + moved) * trace).at[place].add(-alpha * moved)
        return table, Trace(trace, following), error

    def cut(self, ended: Array) -> "Trace":
        """Nothing of it where the episode `ended`."""
        return jax.tree.map(lambda leaf: jnp.where(ended, 0.0, leaf), self)
