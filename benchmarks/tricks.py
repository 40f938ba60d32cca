"""What DQN's tricks are worth: the same learner without its replay, without its target network, and with double Q.

    python benchmarks/tricks.py [--seeds 10] [--steps 500000] [--out docs/results/tricks]

Each variant is the preset of DQN on CartPole with one field changed. Without a replay, minibatches come from the newest
steps alone: as many as a minibatch holds, following one another, so that they say nearly the same. Without a target
network, the values that targets are made of move with every update. Values beyond 99.3, what 500 steps of reward 1 are
worth with a discount of 0.99, cannot be true. Writes OUT.md and OUT.png.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import operant
from operant import presets
from operant.core.statistics import bootstrap_interval, interval_over_seeds
from operant.parts.replay import Uniform
from operant.parts.values.bootstraps import Double

BATCH, WINDOW, MOST = 128, 10, (1 - 0.99**500) / (1 - 0.99)
VARIANTS = {
    "DQN": {},
    "no replay": {"replay": Uniform(BATCH)},
    "no target network": {"target_every": WINDOW},
    "neither": {"replay": Uniform(BATCH), "target_every": WINDOW},
    "double Q": {"bootstrap": Double()},
}
COLOURS = ("#1f5fa8", "#d1622b", "#4c9a52", "#8a4fa3", "#8a8a8a")


def trained(fields: dict, seeds: int, steps: int) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Each seed's mean return of 100 greedy episodes; and `(steps [n], [seeds, n])` of two metrics."""
    agents = operant.train("dqn", "CartPole-v1", num_seeds=seeds, steps=steps, progress="none", **fields)
    returns = np.array([result.mean for result in agents.evaluate_each(100)])
    return returns, {name: curve([agent.history for agent in agents], name) for name in ("episode_return", "value")}


def curve(histories: list[list[dict]], name: str, points: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A metric of every seed at the same steps, each the mean of the rows around it."""
    rows = [[(row["steps"], row[name]) for row in history if row.get(name) is not None] for history in histories]
    end = min(each[-1][0] for each in rows)
    edges = np.linspace(max(each[0][0] for each in rows), end, points + 1)
    values = []
    for each in rows:
        steps, value = np.array(each, float).T
        smooth = np.interp(np.linspace(edges[0], end, 16 * points), steps, value).reshape(points, 16)
        values.append(smooth.mean(axis=1))
    return (edges[1:] + edges[:-1]) / 2, np.array(values)


def draw(curves: dict[str, dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10, 4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, 2), ("episode_return", "value"), strict=True):
        for (label, metrics), colour in zip(curves.items(), COLOURS, strict=True):
            steps, values = metrics[name]
            axes.fill_between(steps, *bootstrap_interval(values), color=colour, alpha=0.2, linewidth=0)
            axes.plot(steps, values.mean(axis=0), color=colour, linewidth=1.6, label=label)
        axes.set_xlabel("environment steps")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("episode return in training")
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.axes[1].axhline(MOST, color="black", linewidth=0.8, linestyle=":")
    figure.axes[1].set_ylabel("mean value of the actions taken")
    figure.axes[1].set_ylim(0, 2.5 * MOST)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    preset = presets.of("dqn")["CartPole-v1"]
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=preset.steps)
    parser.add_argument("--out", default="docs/results/tricks")
    options = parser.parse_args()
    lines = [
        "# What DQN's tricks are worth",
        "",
        f"`python benchmarks/tricks.py --seeds {options.seeds} --steps {options.steps}`: CartPole-v1, DQN's preset",
        "with one field changed; greedy returns after training (100 episodes a seed): the mean, the 95 % interval",
        "over seeds and the worst seed; then the mean value of the actions taken in the last tenth of training, of",
        f"which more than {MOST:.1f} cannot be true.",
        "",
        "Without a replay a minibatch is the newest steps, which follow one another and say nearly the same: the",
        "network fits them and forgets the rest. Without a target network a target moves with every update towards it.",
        "Double Q-learning takes from a maximum over errors what makes values too high.",
        "",
        "![returns and values in training](tricks.png)",
        "",
        "| variant | fields | mean | 95 % interval | worst seed | value in the end | seconds |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    curves = {}
    for name, fields in VARIANTS.items():
        begun = time.perf_counter()
        returns, curves[name] = trained(fields, options.seeds, options.steps)
        mean, _, low, high = interval_over_seeds(returns)
        value = curves[name]["value"][1][:, -6:].mean()
        told = ", ".join(f"`{field}={value!r}`" for field, value in fields.items()) or "the preset's"
        seconds = time.perf_counter() - begun
        cells = name, told, f"{mean:.1f}", f"{low:.1f} to {high:.1f}", f"{returns.min():.1f}", f"{value:.1f}"
        lines.append("| " + " | ".join((*cells, f"{seconds:.0f}")) + " |")
        print(lines[-1], flush=True)
    Path(f"{options.out}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(curves, Path(f"{options.out}.png"))


if __name__ == "__main__":
    main()
