"""A3C with two processes against one, on Gymnasium environments whose steps take a millisecond.

    python benchmarks/asynchronous.py [--turns N] [--seconds S]

One environment computes for its millisecond and holds the interpreter lock, the other waits. Both sides have eight
environments and the same windows; they take turns, so that whatever else the machine does falls on both. Prints medians
of environment steps per second and the ratio of medians, with the least and greatest ratio of a turn. Exit code 1 if a
ratio is below what is hoped for.
"""

import argparse
import statistics
import sys
import time
from typing import Any

from delays import Computing, Waiting

import operant
from operant.core import runtime
from operant.running import driver_of

NUM_ENVS = 8
CASES = {"computes 1 ms": (Computing, 1.5), "waits 1 ms": (Waiting, 1.8)}


class Side:
    """A crew of processes that is ready to work."""

    def __init__(self, num_actors: int, environment: Any):
        algorithm = operant.A3C(num_actors=num_actors)
        self.driver = driver_of(algorithm, environment, NUM_ENVS, 1, "gymnasium", None, None)
        self.carry, self.iteration, self.stale = self.driver.start(0), 0, 0.0
        self.advance(2 * num_actors)

    def advance(self, count: int) -> float:
        """Steps per second over `count` updates."""
        begun = time.perf_counter()
        self.carry = self.driver.advance(self.driver.cleared(self.carry), self.iteration, count, 10**6)
        self.iteration += count
        told = self.carry.totals["staleness"]
        self.stale = float(told.total / told.count)
        return count * self.driver.steps_per_iteration / (time.perf_counter() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one process, in each turn")
    arguments = parser.parse_args()
    runtime.prepare()
    missed = False
    print("| a step | one process, steps/s | two, steps/s | ratio | min … max | hoped for | staleness |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (environment, hoped) in CASES.items():
        one, two = Side(1, environment), Side(2, environment)
        steps = arguments.seconds * 1000
        speeds = [
            [side.advance(round(steps / side.driver.steps_per_iteration)) for side in (one, two)]
            for _ in range(arguments.turns)
        ]
        medians = [statistics.median(column) for column in zip(*speeds, strict=True)]
        ratios = [pair[1] / pair[0] for pair in speeds]
        ratio = medians[1] / medians[0]
        missed |= ratio < hoped
        print(
            f"| {name} | {medians[0]:,.0f} | {medians[1]:,.0f} | {ratio:.2f}× | {min(ratios):.2f} … {max(ratios):.2f} "
            f"| ≥ {hoped:g}× | {two.stale:.2f} |",
            flush=True,
        )
        one.driver.close()
        two.driver.close()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
