"""Several seeds on the host: as many drivers as seeds, each with environments of its own, window by window in turn.

Gymnasium steps in Python, so nothing is gained from doing it at the same time; in turn, the seeds stay at the same
iteration and share one run: one checkpoint, one line of progress, one end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from operant.contracts import Algorithm, Ratio
from operant.core.host import HostDriver
from operant.core.loop import HostCarry
from operant.core.metrics import Health
from operant.environments.host import Host


class SeriesCarry(NamedTuple):
    """The carries of the seeds."""

    members: tuple[HostCarry, ...]

    @property
    def health(self) -> Health:
        return Health(jnp.stack([member.health.fault for member in self.members]))

    @property
    def totals(self) -> dict[str, Ratio]:
        totals = [member.totals for member in self.members]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *totals)


class SeriesDriver:
    """Trains an algorithm with several seeds (or several of one kind) on Gymnasium vector environments, one for each.

    Every seed gets the bits that it would get alone.
    """

    # Seeds before and after the one whose environment failed stand at different iterations.
    latest = None

    def __init__(self, algorithm: Algorithm | Sequence[Algorithm], environments: Sequence[Host]):
        """One algorithm for all, or one for each of the environments."""
        each: Any = algorithm if isinstance(algorithm, Sequence) else [algorithm] * len(environments)
        self._drivers = [HostDriver(own, environment) for own, environment in zip(each, environments, strict=True)]
        self.worlds, first = list(environments), self._drivers[0]
        self.environment, self.spec, self.members = first.environment, first.spec, list(each)
        self.num_envs, self.steps_per_iteration = first.num_envs, first.steps_per_iteration

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

    def policies(self, carry: SeriesCarry) -> Any:
        """A copy of every seed's policy, with a leading axis."""
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.state.policy for member in carry.members))
