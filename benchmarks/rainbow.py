"""Rainbow beside DQN on MinAtar by its authors' protocol, after equally many steps and updates.

    python benchmarks/rainbow.py [--games Breakout Freeway] [--steps 200000] [--seeds 10] [--jobs 2] [--markdown FILE]

Both with their presets for the game, so with minibatches of the same size, but with several environments: there is one
update every `--num-envs` frames, where the presets have one every frame. DQN's epsilon falls over its authors' 100,000
frames, or over the whole of a shorter training. 100 greedy episodes a seed; the interval is that of the interquartile
mean over seeds. One program trains all seeds, or, with `--jobs`, several processes train one each: on a CPU the weights
of ten Rainbows do not fit in the cache. Exit code 1 if Rainbow's interval does not
lie wholly above DQN's in one of the games.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap, trim_mean

import operant
from operant.core.statistics import interquartile_mean
from operant.parts.exploration import EpsilonGreedy
from operant.parts.schedules import Linear

LEARNERS = "dqn", "rainbow"
EXPLORATION_FRAMES = 100_000
HEAD = """\
| game | learner | IQM | 95 % interval | mean | worst seed | seconds |
| --- | --- | ---: | --- | ---: | ---: | ---: |"""


def measure(learner: str, game: str, options: argparse.Namespace) -> np.ndarray:
    """The mean greedy return of each seed."""
    seeds, train = options.seeds, partial(means, learner, game, options.steps, options.num_envs)
    if not options.jobs:
        return np.array(train(seeds, 0))
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as processes:
        return np.concatenate(list(processes.map(partial(train, 1), range(seeds))))


def means(learner: str, game: str, steps: int, num_envs: int, count: int, first: int) -> list[float]:
    """The mean greedy return of each of `count` seeds from `first` on."""
    fields: dict[str, Any] = {"steps": steps, "num_envs": num_envs, "seed": first, "num_seeds": count}
    if learner == "dqn":
        fields["exploration"] = EpsilonGreedy(Linear(1.0, 0.1, over=min(1.0, EXPLORATION_FRAMES / steps)))
    trained = operant.train(learner, f"MinAtar/{game}-v0", progress="none", **fields)
    return [result.mean for result in (trained.evaluate_each(100) if count > 1 else [trained.evaluate(100)])]


def interval(means: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the interquartile mean."""
    middle = partial(trim_mean, proportiontocut=0.25)
    low, high = bootstrap((means,), middle, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=["Breakout", "Freeway"], metavar="GAME")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--num-envs", type=int, default=4, help="environments, and frames from update to update")
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
        apart &= intervals["rainbow"][0] > intervals["dqn"][1]
    if options.markdown:
        games = " ".join(options.games)
        command = f"python benchmarks/rainbow.py --games {games} --steps {options.steps} --num-envs {options.num_envs}"
        command += f" --seeds {options.seeds}"
        said = f"`{command}`: MinAtar's\noriginal protocol, an update every {options.num_envs} frames."
        options.markdown.write_text(
            "\n".join(["# Rainbow beside DQN", "", said, "", HEAD, *lines]) + "\n", encoding="utf-8"
        )
    return 0 if apart else 1


if __name__ == "__main__":
    raise SystemExit(main())
