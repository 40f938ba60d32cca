"""Learning rates of tables: a number, a schedule, or one that falls with the visits of each entry."""

from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import Array

from operant.parts.component import check_range, component
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.tables import read


@component
class Visits:
    """The learning rate 1 / n^power at the n-th time that an entry of the table is learned; n = 1, 2, ...

    With a power of 1 the table holds sample averages (Sutton & Barto 2018, eq. 2.3); a power above 1/2 and up to 1
    meets the conditions of stochastic approximation (eq. 2.7; Even-Dar & Mansour 2003).
    """

    power: float = 1.0

    def check_ranges(self) -> None:
        check_range(self, 0, 1, "power")


Rate: TypeAlias = Scalar | Visits


def check_rate(algorithm: Any) -> None:
    """Raise `OperantError` where the learning rate of `algorithm` is out of its range."""
    check_range(algorithm, 0, 1, "learning_rate")


def start_counts(rate: Rate, shape: tuple[int, ...]) -> Any:
    """Counts of zero for a table of `shape`, `()` where `rate` does not count."""
    return jnp.zeros(shape) if isinstance(rate, Visits) else ()


def step_size(rate: Rate, counts: Any, progress: Array, *index: Array, times: Array | float = 1.0) -> tuple[Array, Any]:
    """The step size for the entry at `index`, and the counts with this time added (`times` 0 does not count)."""
    if not isinstance(rate, Visits):
        return at(rate, progress), counts
    n = read(counts, *index) + times
    return jnp.maximum(n, 1.0) ** -rate.power, counts.at[index].set(n, mode="promise_in_bounds")
