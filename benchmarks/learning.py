"""Learning, measured: every gate over seeds, each with the 95 % bootstrap interval over them.

    python benchmarks/learning.py [--gates NAME ...] [--seeds N] [--jobs N] [--markdown FILE]

The gates are those of the presets (`operant/presets/`). One passes where the lower end of the interval of the mean (one
number a seed: the mean of 100 greedy episodes) is not below it. Gates on the gymnasium backend run the same algorithm
object on Gymnasium's own environment. `--jobs` trains several seeds at once, each in a process of its own (a seed
learns the same alone as beside others; on compiled environments up to rounding); there, and on the gymnasium backend,
each seed's mean goes to standard error as it comes. Gates that take long are measured only where they are named:

    python benchmarks/learning.py --gates ppo-breakout-minatar-compiled --markdown docs/results/learning.md

Exit code 1 if a gate fails.
"""

import argparse
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

import operant
from benchmarks.apart import processes
from operant import presets
from operant.core.statistics import Evaluation, interval_over_seeds
from operant.presets import Preset


@dataclass(frozen=True)
class Gate:
    """A preset on one backend."""

    preset: Preset
    backend: str

    @property
    def name(self) -> str:
        return f"{self.preset.algorithm}-{self.preset.environment}-{self.backend}".lower()


GATES = {
    gate.name: gate
    for gate in (Gate(preset, backend) for preset in presets.every() for backend in preset.gate.backends)
}
USUAL = [name for name, gate in GATES.items() if not gate.preset.gate.long]


def measure(gate: Gate, seeds: int | None = None, jobs: int = 1) -> tuple[np.ndarray, float]:
    """The mean return of each seed's greedy policy over 100 episodes, and the seconds that all took."""
    begun = time.perf_counter()
    count = seeds or gate.preset.gate.seeds
    # Environments in Python train their seeds one after another anyway: each is told as it comes.
    if jobs > 1 or gate.backend == "gymnasium":
        means = []
        with processes(jobs) as pool:
            for seed, part in enumerate(pool.map(partial(_means, gate, 1), range(count))):
                print(f"{gate.name}, seed {seed}: {part[0]:.1f}", file=sys.stderr, flush=True)
                means += part
    else:
        means = _means(gate, count, 0)
    return np.array(means), time.perf_counter() - begun


def _means(gate: Gate, count: int, first: int) -> list[float]:
    """The mean return of each of `count` seeds from `first` on."""
    preset = gate.preset
    trained = operant.train(
        preset.algorithm, preset.environment, seed=first, num_seeds=count, backend=gate.backend, progress="none"
    )
    result: Evaluation = trained.evaluate(100)
    return list(result.returns) if count > 1 else [result.mean]


def row(gate: Gate, means: np.ndarray, seconds: float) -> tuple[bool, str]:
    """Whether the gate is passed, and its line of the table."""
    mean, iqm, low, high = interval_over_seeds(means)
    preset = gate.preset
    passed = low >= preset.gate.score
    cells = (
        preset.algorithm, preset.environment, gate.backend, f"{preset.steps:,}", f"{len(means)}",
        f"{mean:.1f}", f"{iqm:.1f}", f"{low:.1f} to {high:.1f}", f"{means.min():.1f}",
        f"{preset.gate.score:g}", "pass" if passed else "**fail**", f"{seconds:.0f}",
    )  # fmt: skip
    return passed, "| " + " | ".join(cells) + " |"


HEAD = """\
| algorithm | environment | backend | steps | seeds | mean | IQM | 95 % interval | worst seed | gate | | seconds |
| --- | --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- | ---: |"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gates", nargs="+", choices=GATES, default=USUAL, metavar="NAME")
    parser.add_argument("--seeds", type=int, help="in place of each gate's own")
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained at once, each in a process")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    passes, lines = [], []
    for name in options.gates:
        passed, line = row(GATES[name], *measure(GATES[name], options.seeds, options.jobs))
        passes.append(passed)
        lines.append(line)
        print(line, flush=True)
    if options.markdown:
        options.markdown.write_text(table(options.markdown, options.gates, lines), encoding="utf-8")
    return 0 if all(passes) else 1


def table(path: Path, measured: list[str], lines: list[str]) -> str:
    """The page at `path` with the gates measured now in the place of their earlier lines; the rest, and notes, stay."""
    rows = dict(zip(measured, lines, strict=True))
    _, _, below = (path.read_text(encoding="utf-8") if path.exists() else "").partition(HEAD + "\n")
    earlier, _, notes = below.partition("\n\n")
    for line in earlier.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        rows.setdefault("-".join(cells[1:4]).lower(), line)
    packages = ", ".join(f"{package} {version(package)}" for package in ("jax", "gymnax", "gymnasium"))
    return (
        "# Learning\n\nEach algorithm with its preset for the environment; 100 greedy episodes a seed, "
        f"the interval over seeds. {packages}, Python {platform.python_version()}.\n\n"
        "`python benchmarks/learning.py --markdown docs/results/learning.md`\n\n"
        + "\n".join([HEAD, *(rows[name] for name in GATES if name in rows)])
        + (f"\n\n{notes}" if notes else "\n")
    )


if __name__ == "__main__":
    raise SystemExit(main())
