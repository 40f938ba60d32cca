"""Learning, measured: every gate over seeds, each with the 95 % bootstrap interval over them.

    python benchmarks/learning.py [--gates NAME ...] [--seeds 10] [--markdown FILE]

A gate passes where the lower end of the interval of the mean (one number a seed: the mean of 100 greedy episodes) is
above it. Host gates run the same algorithm object on Gymnasium's own environment, one seed after the other; beside
their gate they are held to the compiled runs' range over seeds. Exit code 1 if a gate fails.
"""

import argparse
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import operant
from operant.core.statistics import Evaluation, interval_over_seeds


@dataclass(frozen=True)
class Gate:
    algorithm: str
    environment: str
    steps: int
    gate: float
    backend: str = "compiled"

    @property
    def name(self) -> str:
        return f"{self.algorithm}-{self.environment}-{self.backend}".lower()


GATES = {
    gate.name: gate
    for gate in (
        Gate("ppo", "CartPole-v1", 200_000, 475),
        Gate("dqn", "CartPole-v1", 500_000, 475),
        Gate("reinforce", "CartPole-v1", 500_000, 450),
        Gate("ppo", "Pendulum-v1", 300_000, -200),
        Gate("ppo", "CartPole-v1", 200_000, 475, "gymnasium"),
        Gate("dqn", "CartPole-v1", 500_000, 475, "gymnasium"),
    )
}


def measure(gate: Gate, seeds: int) -> tuple[np.ndarray, float]:
    """The mean return of each seed's greedy policy over 100 episodes, and the seconds that all took."""
    begun = time.perf_counter()
    arguments = {"steps": gate.steps, "backend": gate.backend, "progress": "none"}
    if gate.backend == "compiled":
        result: Evaluation = operant.train(gate.algorithm, gate.environment, num_seeds=seeds, **arguments).evaluate(100)
        means = result.returns if seeds > 1 else np.array([result.mean])
    else:
        means = np.zeros(seeds)
        for seed in range(seeds):
            means[seed] = operant.train(gate.algorithm, gate.environment, seed=seed, **arguments).evaluate(100).mean
            print(f"{gate.name}, seed {seed}: {means[seed]:.1f}", file=sys.stderr, flush=True)
    return means, time.perf_counter() - begun


def row(gate: Gate, means: np.ndarray, seconds: float) -> tuple[bool, str]:
    """Whether the gate is passed, and its line of the table."""
    mean, iqm, low, high = interval_over_seeds(means)
    passed = low >= gate.gate
    cells = (
        gate.algorithm, gate.environment, gate.backend, f"{gate.steps:,}", f"{len(means)}", f"{mean:.1f}", f"{iqm:.1f}",
        f"{low:.1f} to {high:.1f}", f"{means.min():.1f}", f"{gate.gate:g}", "pass" if passed else "**fail**",
        f"{seconds:.0f}",
    )  # fmt: skip
    return passed, "| " + " | ".join(cells) + " |"


HEAD = """\
| algorithm | environment | backend | steps | seeds | mean | IQM | 95 % interval | worst seed | gate | | seconds |
| --- | --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- | ---: |"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gates", nargs="+", choices=GATES, default=list(GATES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    passes, lines = [], []
    for name in options.gates:
        passed, line = row(GATES[name], *measure(GATES[name], options.seeds))
        passes.append(passed)
        lines.append(line)
        print(line, flush=True)
    if options.markdown:
        options.markdown.write_text(table(options.markdown, options.gates, lines), encoding="utf-8")
    return 0 if all(passes) else 1


def table(path: Path, measured: list[str], lines: list[str]) -> str:
    """The page at `path` with the gates measured now in the place of their earlier lines; the others stay."""
    rows = dict(zip(measured, lines, strict=True))
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        cells = [cell.strip() for cell in line.split("|")]
        name = "-".join(cells[1:4]).lower()
        if name in GATES:
            rows.setdefault(name, line)
    packages = ", ".join(f"{package} {version(package)}" for package in ("jax", "gymnax", "gymnasium"))
    return (
        "# Learning\n\nEach algorithm with its default fields and number of environments; 100 greedy episodes a seed, "
        f"the interval over seeds. {packages}, Python {platform.python_version()}.\n\n"
        "`python benchmarks/learning.py --markdown docs/results/learning.md`\n\n"
        + "\n".join([HEAD, *(rows[name] for name in GATES if name in rows)])
        + "\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
