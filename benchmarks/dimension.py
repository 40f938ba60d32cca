"""The curse of dimension: what one exact sweep costs as a problem gains dimensions.

    python benchmarks/dimension.py [--points 10] [--largest 6] [--out docs/results/dimension]

A random walk with drift on a grid of `points` places along each of d dimensions has points^d states and 2 d actions; a
move goes astray, in any direction, one time in ten. Each dimension multiplies states, outcomes, memory and the time
of a sweep by `points`, while the cost for each outcome stays what it is. Writes OUT.md and OUT.png.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np

from operant import finite

SLIP = 0.1


def walk(points: int, dimensions: int) -> finite.MoveMDP:
    """Moves of one place along one axis; the far corner is the end, every step costs one."""
    shape = (points,) * dimensions
    place = np.indices(shape, dtype=np.int32).reshape(dimensions, -1)
    successors = np.empty((place.shape[1], 2 * dimensions), np.int32)
    for axis in range(dimensions):
        for side, step in enumerate((1, -1)):
            moved = place.copy()
            moved[axis] = np.clip(moved[axis] + step, 0, points - 1)
            successors[:, 2 * axis + side] = np.ravel_multi_index(tuple(moved), shape)
    mix = np.full((2 * dimensions,) * 2, SLIP / (2 * dimensions)) + (1 - SLIP) * np.eye(2 * dimensions)
    return finite.MoveMDP(successors, mix, -1.0, terminal=[place.shape[1] - 1], discount=0.99)


def measured(points: int, dimensions: int) -> dict:
    problem = walk(points, dimensions)
    values, seconds = np.zeros(problem.num_states), []
    for _ in range(5):
        began = time.process_time()
        values = problem.backup(values, 0.99).max(axis=1)
        seconds.append(time.process_time() - began)
    outcomes = problem.num_states * problem.num_actions * problem.width
    # A stored outcome: probability and reward (8 bytes each), next state (4), flag (1).
    return {
        "d": dimensions,
        "states": problem.num_states,
        "outcomes": outcomes,
        "stored": 21 * outcomes,
        "shared": problem.successors.nbytes,
        "sweep": statistics.median(seconds),
    }


def draw(rows: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    states = [row["states"] for row in rows]
    left.loglog(states, [row["sweep"] for row in rows], "o-")
    left.set(xlabel="states", ylabel="processor seconds of one sweep")
    right.loglog(states, [row["stored"] / 2**20 for row in rows], "o-", label="every outcome stored")
    right.loglog(states, [row["shared"] / 2**20 for row in rows], "o-", label="moves shared by the actions")
    right.set(xlabel="states", ylabel="memory (MiB)")
    right.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--largest", type=int, default=6)
    parser.add_argument("--out", default="docs/results/dimension")
    options = parser.parse_args()
    rows = [measured(options.points, dimensions) for dimensions in range(1, options.largest + 1)]
    lines = [
        "# The curse of dimension",
        "",
        f"`python benchmarks/dimension.py --points {options.points} --largest {options.largest}`: a grid of",
        f"{options.points} places along each dimension; processor time of one sweep of value iteration",
        "(median of five).",
        f"On {os.cpu_count()} cores, with a load of {os.getloadavg()[0]:.0f} when it ended.",
        "",
        "![cost by number of states](dimension.png)",
        "",
        "| dimensions | states | outcomes | one sweep (s) | ns per outcome | all outcomes stored | moves shared |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        memory = [f"{row[name] / 2**20:,.2f} MiB" for name in ("stored", "shared")]
        each = row["sweep"] / row["outcomes"] * 1e9
        lines.append(
            f"| {row['d']} | {row['states']:,} | {row['outcomes']:,} | {row['sweep']:.2g} | {each:.2g} | "
            + " | ".join(memory)
            + " |"
        )
    Path(f"{options.out}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(rows, Path(f"{options.out}.png"))
    print("\n".join(lines[9:]))


if __name__ == "__main__":
    main()
