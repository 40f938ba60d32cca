"""Rainbow beside DQN on MinAtar by its authors' protocol, after equally many frames and updates.

    python benchmarks/rainbow.py [--games Breakout Freeway] [--steps 100000] [--seeds 10] [--jobs 2] [--markdown FILE]

All with their presets for the game, which have the same environments, convolutions, minibatches and learning rate; DQN
also without its returns of three steps, because these are one of Rainbow's parts. What changes over training (epsilon,
the correction of priorities) is spread over the frames that there are. 100 greedy episodes a seed; the interval is that
of the interquartile mean over seeds. One program trains all seeds, or, with `--jobs`, several processes train one each:
on a CPU the weights of ten Rainbows do not fit in the cache. Exit code 1 if Rainbow's interval does not lie wholly
above the others in one of the games.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap, trim_mean

import operant
from benchmarks.apart import processes
from operant.core.statistics import interquartile_mean

# The rows of the table: an algorithm, and what differs from its preset.
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn, one step": ("dqn", {"n_step": 1}),
    "dqn": ("dqn", {}),
    "rainbow": ("rainbow", {}),
}
HEAD = """\
| game | learner | IQM | 95 % interval | mean | worst seed | seconds |
| --- | --- | ---: | --- | ---: | ---: | ---: |"""


def measure(learner: str, game: str, options: argparse.Namespace) -> np.ndarray:
    """The mean greedy return of each seed."""
    seeds, train = options.seeds, partial(means, learner, game, options.steps)
    if not options.jobs:
        return np.array(train(seeds, 0))
    with processes(options.jobs) as pool:
        return np.concatenate(list(pool.map(partial(train, 1), range(seeds))))


def means(learner: str, game: str, steps: int, count: int, first: int) -> list[float]:
    """The mean greedy return of each of `count` seeds from `first` on."""
    algorithm, fields = LEARNERS[learner]
    trained = operant.train(
        algorithm, f"MinAtar/{game}-v0", steps=steps, seed=first, num_seeds=count, progress="none", **fields
    )
    return [result.mean for result in (trained.evaluate_each(100) if count > 1 else [trained.evaluate(100)])]


def interval(means: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the interquartile mean."""
    middle = partial(trim_mean, proportiontocut=0.25)
    low, high = bootstrap((means,), middle, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=["Breakout", "Freeway"], metavar="GAME")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, help="seeds trained side by side, each in a process, not in one program")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines, apart = [], True
    print(HEAD)
    for game in options.games:
        intervals = {}
        for learner in LEARNERS:
            begun = time.perf_counter()
            means = measure(learner, game, options)
            intervals[learner] = low, high = interval(means)
            cells = game, learner, f"{interquartile_mean(means):.1f}", f"{low:.1f} to {high:.1f}", f"{means.mean():.1f}"
            seconds = time.perf_counter() - begun
            lines.append("| " + " | ".join((*cells, f"{means.min():.1f}", f"{seconds:.0f}")) + " |")
            print(lines[-1], flush=True)
        lowest, _ = intervals.pop("rainbow")
        apart &= all(lowest > high for _, high in intervals.values())
    if options.markdown:
        games = " ".join(options.games)
        command = f"python benchmarks/rainbow.py --games {games} --steps {options.steps} --seeds {options.seeds}"
        command += f" --jobs {options.jobs}" if options.jobs else ""
        said = f"`{command}`: MinAtar's\noriginal protocol, an update of 32 every four frames."
        options.markdown.write_text(
            "\n".join(["# Rainbow beside DQN", "", said, "", HEAD, *lines]) + "\n", encoding="utf-8"
        )
    return 0 if apart else 1


if __name__ == "__main__":
    raise SystemExit(main())
