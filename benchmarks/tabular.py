"""Tabular Q-learning's speed on CliffWalking: one run, many at once, and the textbook's loop in plain Python.

    python benchmarks/tabular.py [--repeats 5] [--runs 256]

The sides take turns, so that whatever else the machine is doing falls on all of them. Each repetition learns from
scratch with a new seed; compilation is not part of it. The plain loop is `examples/tabular/q_learning.py` on Gymnasium.
"""

import argparse
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import jax

from operant.algorithms.tabular.q_learning import QLearning
from operant.core import runtime
from operant.core.drivers.compiled import CompiledDriver
from operant.environments import make

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "tabular" / "q_learning.py"


def compiled(runs: int, iterations: int) -> Callable[[int], tuple[int, float]]:
    """Learns `runs` tables at once; returns the environment steps and the seconds of a repetition."""
    driver = CompiledDriver(QLearning(), make("CliffWalking-v1", backend="compiled"), 1, runs)

    def repetition(seed: int) -> tuple[int, float]:
        carry = jax.block_until_ready(driver.start(seed * runs))
        begun = time.perf_counter()
        jax.block_until_ready(driver.advance(carry, 0, iterations, iterations))
        return iterations * driver.steps_per_iteration * runs, time.perf_counter() - begun

    repetition(0)
    return repetition


def plain(episodes: int) -> Callable[[int], tuple[int, float]]:
    """The textbook's loop over Gymnasium."""
    learn = runpy.run_path(str(EXAMPLE))["q_learning"]
    steps = 0

    class Counted(gymnasium.Wrapper):
        def step(self, action):
            nonlocal steps
            steps += 1
            return self.env.step(action)

    counted, bare = Counted(gymnasium.make("CliffWalking-v1")), gymnasium.make("CliffWalking-v1")

    def repetition(seed: int) -> tuple[int, float]:
        nonlocal steps
        begun, steps = time.perf_counter(), 0
        learn(bare, episodes, seed=seed)
        seconds = time.perf_counter() - begun
        learn(counted, episodes, seed=seed)  # the same steps again, counted off the clock
        return steps, seconds

    return repetition


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=256, help="tables that are learned at once")
    arguments = parser.parse_args()
    runtime.prepare()
    sides = {
        "one run": compiled(1, 2_000),
        f"{arguments.runs} runs at once": compiled(arguments.runs, 100),
        "plain Python loop": plain(200),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(1, arguments.repeats + 1):
        for name, side in sides.items():
            steps, seconds = side(turn)
            speeds[name].append(steps / seconds)
    base = statistics.median(speeds["plain Python loop"])
    for name, found in speeds.items():
        median = statistics.median(found)
        spread = f"{min(found):,.0f} … {max(found):,.0f}"
        print(f"{name:>20}: {median:12,.0f} steps/s ({spread}), {median / base:.0f}× the plain loop", file=sys.stderr)


if __name__ == "__main__":
    main()
