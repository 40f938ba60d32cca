"""Evaluations as tables and as plain JSON."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from operant.agent import over_seeds
from operant.commands.output import console
from operant.core.statistics import Evaluation
from operant.grids import Grid, written
from operant.parts.describe import describe


def summarised(each: Sequence[Evaluation]) -> dict[str, Any]:
    """The interval over seeds, and for several seeds the mean of each."""
    told = over_seeds(each).to_json() | {"episodes": sum(result.episodes for result in each)}
    return told if len(each) == 1 else told | {"per_seed": [result.to_json()["mean"] for result in each]}


def told_setting(setting: dict[str, Any]) -> str:
    """A setting of a grid for people."""
    return ", ".join(f"{name} {value}" for name, value in written(setting).items())


def described(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting of a grid in plain JSON."""
    return {name: describe(value) for name, value in setting.items()}


def show_grid(grid: Grid, each: list[Evaluation], random: Evaluation | None, which: str) -> None:
    """One line for each setting, its interval over seeds."""
    names = list(grid.settings[0])
    table = Table(*names, "mean", "IQM", "95 % interval", box=None, pad_edge=False)
    for setting, group in zip(grid.settings, grid.grouped(each), strict=True):
        table.add_row(*written(setting).values(), *cells(over_seeds(group)))
    if random is not None:
        table.add_row("random actions", *[""] * (len(names) - 1), *cells(random))
    seeds, episodes = len(each) // len(grid.settings), sum(result.episodes for result in each)
    over = f"each over {seeds} seeds" if seeds > 1 else "one seed each"
    console().print(f"evaluation of the {which} policies, greedy, episode return: {episodes:,} episodes, {over}")
    console().print(table)


def cells(result: Evaluation) -> tuple[str, str, str]:
    """Mean, interquartile mean and interval."""
    return f"{result.mean:.1f}", f"{result.iqm:.1f}", f"{result.low:.1f} to {result.high:.1f}"
