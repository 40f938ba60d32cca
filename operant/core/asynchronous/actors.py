"""An actor-learner: environments of its own, windows, gradients, and updates of what is shared.

    until no window is left to claim:
        read the shared parameters
        collect a window with them, in environments of its own
        compute the gradient, with the parameters that acted (or, where the algorithm corrects for it, the newest)
        note the statistics and memories that the window leaves
        apply the gradient to the parameters as they are by now, and add the difference

Nothing here knows whether the others live in threads, in processes or elsewhere.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from operant.contracts import Array, Clock, Ratio
from operant.core import keys
from operant.core.asynchronous.programs import ENDED, Programs
from operant.core.asynchronous.shared import Shared
from operant.core.asynchronous.sources import Source
from operant.core.drivers.loop import example_window
from operant.core.metrics import Health, well
from operant.errors import OperantError


class Report(NamedTuple):
    """What an actor tells when there was nothing left to do."""

    sums: tuple[np.ndarray, np.ndarray]  # of the metrics of both halves, totals and counts in turn
    staleness: int  # summed over its updates
    fault: np.ndarray  # as in `Health`
    stream: Any  # where its environments are now, if that can be kept
    error: str | None = None  # an environment's


class Actor:
    """Actor `number` of a crew; `algorithm` is strongly typed, `stream` is where its environments are."""

    def __init__(self, algorithm: Any, programs: Programs, source: Source, number: int):
        self.number, self.stream, self._source = number, (), source
        self._algorithm, self._programs = algorithm, programs
        self._slots = np.arange(programs.spec.num_envs, dtype=np.int32) + number * programs.spec.num_envs

    def rehearse(self) -> None:
        """Compile the algorithm's two halves; nothing is shared yet."""
        algorithm, programs = self._algorithm, self._programs
        values, clock = np.zeros(programs.size, np.float32), Clock(np.int32(0), np.float32(0))
        window = example_window(algorithm, programs.state(values), programs.spec, programs.length)
        window = window._replace(slots=self._slots, age=np.int32(0))
        ratios = dict.fromkeys(ENDED, Ratio(np.float32(0), np.float32(0)))
        sums = programs.fresh()
        key = keys.root(0), np.int32(0)
        _, gradient, (_, health) = programs.gradient(algorithm, values, window, ratios, key, clock, (sums[0], well()))
        programs.apply(algorithm, values, gradient, clock, (sums[1], health))

    def work(self, shared: Shared, root: Array, total: int, abandoned: Callable[[], bool] = lambda: False) -> Report:
        """Collect windows and learn from them until none is left, or nobody waits; `total` are those of the whole run.

        `root` is the run's key: windows are numbered by the actor's own count, so that its random numbers do not
        depend on how fast the others are.
        """
        key = keys.actor(root, self.number)
        sums, stale, health, error = self._programs.fresh(), 0, well(), None
        try:
            while not abandoned() and (now := shared.claim()) is not None:
                sums, health, late = self._update(shared, key, now, total, sums, health)
                stale += late
                if diverged(health):
                    shared.halt()
        except OperantError as raised:
            shared.halt()
            error = str(raised)
        gradient, apply = (np.asarray(half) for half in sums)
        return Report((gradient, apply), stale, np.asarray(health.fault), self.stream, error)

    def _update(
        self, shared: Shared, key: Array, now: int, total: int, sums: tuple, health: Health
    ) -> tuple[tuple, Health, int]:
        algorithm, programs = self._algorithm, self._programs
        count = np.int32(shared.updates[self.number])
        clock = Clock(np.int32(now), np.float32(min(now / total, 1.0)))
        acted, seen = shared.read()
        local = Clock(count, clock.progress)
        self.stream, window, ratios = self._source.window(algorithm, acted, self.stream, key, local)
        values, newest = shared.read() if algorithm.off_policy else (acted, seen)
        window = window._replace(slots=self._slots, age=np.int32(newest - seen))
        noted, gradient, (first, health) = programs.gradient(
            algorithm, values, window, ratios, (key, count), clock, (sums[0], health)
        )
        if diverged(health):  # what is not finite stays out of what is shared
            return (first, sums[1]), health, 0
        shared.note(values, np.asarray(noted))
        present, _ = shared.read()
        after, (second, health) = programs.apply(algorithm, present, gradient, clock, (sums[1], health))
        late = 0 if diverged(health) else shared.add(self.number, present, np.asarray(after), seen)
        return (first, second), health, late


def diverged(health: Health) -> bool:
    return bool((np.asarray(health.fault) >= 0).any())
