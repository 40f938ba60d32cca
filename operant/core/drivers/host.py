"""The host driver: the same algorithm objects on a Gymnasium vector environment stepped in Python.

One jitted call acts for all environments, observations stay NumPy arrays until the window is handed over whole
to the jitted, donating `learn`. The state of a Gymnasium environment cannot be saved, so a resumed run continues
with fresh episodes.
"""

from typing import Any

from operant.contracts import Algorithm
from operant.core.drivers.loop import HostCarry, Loop
from operant.core.drivers.rollout import fill
from operant.environments.host import Host
from operant.environments.make import release


class HostDriver(Loop):
    """Trains one algorithm on a Gymnasium vector environment, one seed."""

    def __init__(self, algorithm: Algorithm, environment: Host):
        super().__init__(algorithm, environment.spec(), environment.name)
        self.environment = environment
        self._observation: Any = None  # to act on next; none before the environments were reset
        self.latest: tuple[HostCarry, int]

    def start(self, seed: int) -> HostCarry:
        """The carry before the first iteration."""
        self._observation = None
        return super().start(seed)

    def advance(self, carry: HostCarry, iteration: int, count: int, total: int) -> HostCarry:
        """`count` iterations from absolute `iteration` of `total`; consumes `carry`."""
        for now in range(iteration, iteration + count):
            # What can still be saved if an environment raises in this window.
            self.latest = carry, now
            if self._observation is None:
                self._reset(self.reset_seed(carry, now))
            elif self.episodic and not self.rollout.fresh.all():
                # Whole episodes start together, but draw on the environments' own generators, seeded once.
                self._reset(None)
            self.open(carry, now, total)
            self._observation = fill(self.rollout, self.environment, self._observation)
            carry = self.learn(carry)
        return carry

    def close(self) -> None:
        """Close the environments, unless they are the user's."""
        release(self.environment)

    def _reset(self, seed: int | None) -> None:
        self._observation = self.environment.reset(seed)
        self.rollout.reset()
