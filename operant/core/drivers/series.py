"""Several seeds that cannot be one program: as many drivers as seeds, each with environments of its own, in turn.

Gymnasium steps in Python, and actors use the cores already, so nothing is gained from doing it at the same time; in
turn, the seeds stay at the same iteration and share one run: one checkpoint, one line of progress, one end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from operant.contracts import Ratio
from operant.core.metrics import Health


class SeriesCarry(NamedTuple):
    """The carries of the seeds."""

    members: tuple[Any, ...]

    @property
    def health(self) -> Health:
        return Health(jnp.stack([member.health.fault for member in self.members]))

    @property
    def totals(self) -> dict[str, Ratio]:
        totals = [member.totals for member in self.members]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *totals)


class SeriesDriver:
    """Trains several seeds with a driver each, which is given its algorithm and environments of its own.

    Every seed gets the bits that it would get alone.
    """

    # Seeds before and after the one whose environment failed stand at different iterations.
    latest = None

    def __init__(self, drivers: Sequence[Any]):
        self._drivers, first = list(drivers), drivers[0]
        self.environment, self.spec = first.environment, first.spec
        self.members = [member for driver in self._drivers for member in driver.members]
        self.num_envs, self.steps_per_iteration = first.num_envs, first.steps_per_iteration
        self.placing = getattr(first, "placing", getattr(first.environment, "placing", ""))

    def start(self, seed: int) -> SeriesCarry:
        """The carry before the first iteration; member k has seed `seed + k`."""
        return SeriesCarry(tuple(driver.start(seed + k) for k, driver in enumerate(self._drivers)))

    def template(self) -> SeriesCarry:
        """Shapes and dtypes of the carry."""
        return SeriesCarry(tuple(driver.template() for driver in self._drivers))

    def advance(self, carry: SeriesCarry, iteration: int, count: int, total: int) -> SeriesCarry:
        """`count` iterations of every seed from absolute `iteration` of `total`; consumes `carry`."""
        pairs = zip(self._drivers, carry.members, strict=True)
        return SeriesCarry(tuple(driver.advance(member, iteration, count, total) for driver, member in pairs))

    def cleared(self, carry: SeriesCarry) -> SeriesCarry:
        """`carry` with its metrics at zero."""
        pairs = zip(self._drivers, carry.members, strict=True)
        return SeriesCarry(tuple(driver.cleared(member) for driver, member in pairs))

    def close(self) -> None:
        """Close what the drivers hold."""
        for driver in self._drivers:
            driver.close()

    def policies(self, carry: SeriesCarry) -> Any:
        """A copy of every seed's policy, with a leading axis."""
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.state.policy for member in carry.members))
