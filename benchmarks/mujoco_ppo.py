"""PPO on MuJoCo beside Stable-Baselines3, on the same environments and with the same settings: hours, a nightly job.

    python benchmarks/mujoco_ppo.py [--environments ID ...] [--seeds 10] [--steps N] [--jobs 2] [--markdown FILE]

Published numbers are of older versions of these environments, so both are measured anew. Operant trains by its preset;
Stable-Baselines3, in an environment of its own (`requirements-sb3.txt`), by the same numbers, but for the advantages,
which it does not compute anew before each epoch. Seeds take turns, `--jobs` of them side by side, each in a process of
its own. The page keeps the rows of environments that are not measured now. Needs the extra `mujoco`.
"""

import argparse
import json
import platform
import subprocess
import time
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np
from peers import HERE, interpreter

import operant
from benchmarks.apart import processes
from operant import presets
from operant.core.statistics import interval_over_seeds

EPISODES = 100


HEAD = """\
| environment | | steps | seeds | mean | IQM | 95 % interval | worst seed | seconds a seed |
| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |"""


def ours(environment: str, steps: int, seed: int) -> tuple[float, float]:
    """The mean return of the greedy policy, and the seconds of training."""
    begun = time.perf_counter()
    agent = operant.train("ppo", environment, steps=steps, seed=seed, progress="none")
    seconds = time.perf_counter() - begun
    return agent.evaluate(EPISODES).mean, seconds


def theirs(environment: str, steps: int, seed: int) -> tuple[float, float]:
    command = [interpreter("sb3"), HERE / "workers" / "sb3_learner.py", environment, steps, seed, EPISODES]
    done = subprocess.run([str(each) for each in command], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return float(np.mean(told["returns"])), told["seconds"]


SIDES = {"Operant": ours, "Stable-Baselines3": theirs}


def measure(environment: str, steps: int, seeds: int, jobs: int) -> dict[str, list[tuple[float, float]]]:
    """What each side reached, seed by seed."""
    with processes(jobs) as pool:
        turns = [
            (label, pool.submit(train, environment, steps, seed))
            for seed in range(seeds)
            for label, train in SIDES.items()
        ]
        results: dict[str, list[tuple[float, float]]] = {label: [] for label in SIDES}
        for label, turn in turns:
            results[label].append(turn.result())
            print(environment, label, len(results[label]) - 1, *results[label][-1], flush=True)
    return results


def row(label: str, environment: str, steps: int, results: list[tuple[float, float]]) -> str:
    means, seconds = map(np.array, zip(*results, strict=True))
    mean, iqm, low, high = interval_over_seeds(means)
    cells = (
        environment, label, f"{steps:,}", f"{len(means)}", f"{mean:.0f}", f"{iqm:.0f}", f"{low:.0f} to {high:.0f}",
        f"{means.min():.0f}", f"{np.median(seconds):.0f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    known = [name for name in presets.of("ppo") if name.endswith("-v5") and not name.startswith("ALE")]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--environments", nargs="+", choices=known, default=known, metavar="ID")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, help="in place of the preset's")
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained at once")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines = {}
    for environment in options.environments:
        steps = options.steps or presets.of("ppo")[environment].steps
        results = measure(environment, steps, options.seeds, options.jobs)
        lines[environment] = [row(label, environment, steps, found) for label, found in results.items()]
        if options.markdown:
            options.markdown.write_text(page(options.markdown, lines, options), encoding="utf-8")
    print("\n".join([HEAD, *chain(*lines.values())]))


def page(path: Path, lines: dict[str, list[str]], options: argparse.Namespace) -> str:
    """The page at `path` with the rows of `lines`, by environment, in the place of their earlier ones."""
    _, _, table = (path.read_text(encoding="utf-8") if path.exists() else "").partition(HEAD + "\n")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    kept = [line for line in rows if line.split("|")[1].strip() not in lines]
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "gymnasium", "mujoco"))
    flags = [f" --{name} {value}" for name in ("seeds", "steps", "jobs") if (value := getattr(options, name))]
    return (
        f"""\
# MuJoCo

PPO by its preset beside Stable-Baselines3 with the same settings, but for the advantages, which the latter does not
compute anew before each epoch: greedy returns ({EPISODES} episodes a seed) after training, over seeds; the median of
the seconds of training. {packages}, Python {platform.python_version()};
Stable-Baselines3 as in `benchmarks/requirements-sb3.txt`.

The newest rows, the others alike with their own seeds:

`python benchmarks/mujoco_ppo.py --environments {" ".join(lines)}{"".join(flags)}`

"""
        + "\n".join([HEAD, *sorted(chain(kept, *lines.values()))])
        + "\n"
    )


if __name__ == "__main__":
    main()
