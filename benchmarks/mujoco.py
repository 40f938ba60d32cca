"""PPO on MuJoCo beside Stable-Baselines3, on the same environments and with the same settings: hours, a nightly job.

    python benchmarks/mujoco.py [--environments HalfCheetah-v5 ...] [--seeds 10] [--steps N] [--markdown FILE]

Published numbers are of older versions of these environments, so both are measured anew. Operant trains by its preset;
Stable-Baselines3, in an environment of its own (`requirements-sb3.txt`), by the same numbers, but for the advantages,
which it does not compute anew before each epoch. Seeds take turns. Needs the extra `mujoco`.
"""

import argparse
import json
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from peers import HERE, interpreter

import operant
from operant import presets
from operant.core.statistics import interval_over_seeds

EPISODES = 100


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
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "gymnasium", "mujoco"))
    lines = [
        "# MuJoCo",
        "",
        "PPO by its preset beside Stable-Baselines3 with the same settings, seed by seed in turns: greedy returns",
        f"({EPISODES} episodes a seed) after training, over seeds; the median of the seconds of training. {packages},",
        f"Python {platform.python_version()}; Stable-Baselines3 as in `benchmarks/requirements-sb3.txt`.",
        "",
        f"`python benchmarks/mujoco.py --seeds {options.seeds}"
        + (f" --steps {options.steps}`" if options.steps else "`"),
        "",
        "| environment | | steps | seeds | mean | IQM | 95 % interval | worst seed | seconds a seed |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for environment in options.environments:
        steps = options.steps or presets.of("ppo")[environment].steps
        results: dict[str, list[tuple[float, float]]] = {"Operant": [], "Stable-Baselines3": []}
        for seed in range(options.seeds):
            for label, train in zip(results, (ours, theirs), strict=True):
                results[label].append(train(environment, steps, seed))
                print(environment, label, seed, *results[label][-1], flush=True)
        lines += [row(label, environment, steps, found) for label, found in results.items()]
        if options.markdown:
            options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines[-2 * len(options.environments) :]))


if __name__ == "__main__":
    main()
