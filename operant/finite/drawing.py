"""Solutions for people: grids of values and arrows as text, heat maps as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from operant.finite.validation import MDPError

if TYPE_CHECKING:
    from operant.finite.solution import Solution

ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
END, WALL = "•", "█"
LARGEST = (24, 20)  # rows and columns of a grid that is written out
LONGEST = 24  # rows of a table that is written out


def text(solution: Solution) -> str:
    """A few lines of facts, then values and policy: as grids, or as a table of the first states."""
    parts = [facts(solution)]
    problem = solution.problem
    if problem is not None:
        cells = getattr(problem, "cells", None)
        if cells is not None and (cells.max(axis=0) < LARGEST).all():
            parts.append(_grids(solution, cells))
        else:
            parts.append(_table(solution))
    return "\n\n".join(parts)


def facts(solution: Solution) -> str:
    """Method, certificate, cost, and what an episode is worth, in two lines."""
    states, actions = solution.action_values.shape[-2:]
    steps = f", {len(solution.policy)} steps" if solution.values.ndim == 2 else ""
    said = f"{solution.method.replace('_', ' ')}: {states:,} states, {actions} actions{steps}"
    work = f"{solution.iterations:,} iterations in {solution.seconds:.3g} s"
    sure = f"certified within {solution.gap:.2g}"
    if solution.gain is not None:
        return f"{said}\ngain {solution.gain:.6g} per step, {sure}; {work}"
    worth = "" if solution.problem is None else f"value at the start {solution.start_value:.6g}, "
    return f"{said}, discount {solution.discount:g}\n{worth}{sure}; {work}"


def labels_of(solution: Solution) -> list[str]:
    """What the policy does in each state (at first, where it depends on time): arrows, labels or numbers."""
    problem, policy = solution.problem, _now(solution.policy, solution)
    names = getattr(problem, "action_labels", None)
    names = [ARROWS.get(name, name) for name in names or map(str, range(solution.action_values.shape[-1]))]
    if policy.ndim == 2:
        policy = np.where(policy.max(axis=1) >= 1.0, policy.argmax(axis=1), -1)
    taken = [names[action] if action >= 0 else "mixed" for action in policy.tolist()]
    return [END if ends else word for word, ends in zip(taken, problem.terminal.tolist(), strict=True)]


def _now(array: np.ndarray, solution: Solution) -> np.ndarray:
    """The first step of a solution that depends on time."""
    return array if solution.values.ndim == 1 else array[0]


def _grids(solution: Solution, cells: np.ndarray) -> str:
    values = [f"{value:.4g}" for value in _now(solution.values, solution).tolist()]
    sides = [_grid(values, cells), _grid(labels_of(solution), cells)]
    if len(sides[0][0]) + len(sides[1][0]) > 110:
        return "\n".join([*sides[0], "", *sides[1]])
    return "\n".join(f"{left}     {right}" for left, right in zip(*sides, strict=True))


def _grid(words: list[str], cells: np.ndarray) -> list[str]:
    height, width = (cells.max(axis=0) + 1).tolist()
    wide = max(map(len, words))
    drawn = [[WALL * wide] * width for _ in range(height)]
    for (row, column), word in zip(cells.tolist(), words, strict=True):
        drawn[row][column] = word.rjust(wide)
    return [" ".join(line) for line in drawn]


def _table(solution: Solution) -> str:
    count = solution.action_values.shape[-2]
    names = getattr(solution.problem, "state_labels", None)
    shown = range(count if count <= LONGEST else LONGEST - 4)
    cells = getattr(solution.problem, "cells", None)
    if cells is not None:
        names = {state: f"{cells[state, 0]},{cells[state, 1]}" for state in shown}
    values, policy = _now(solution.values, solution), labels_of(solution)
    rows = [("state", "value", "action")]
    rows += [(str(names[state] if names else state), f"{values[state]:.6g}", policy[state]) for state in shown]
    wide = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{state:<{wide[0]}}  {value:>{wide[1]}}  {action}" for state, value, action in rows]
    if len(shown) < count:
        lines.append(
            f"... and {count - len(shown):,} more states, values from {values.min():.6g} to {values.max():.6g}"
        )
    return "\n".join(lines)


def heat_map(solution: Solution, path: Path) -> None:
    """Write a PNG of the values, one square a state, with arrows where they can be seen."""
    cells: Any = getattr(solution.problem, "cells", None)
    if cells is None:
        raise MDPError("only problems whose states lie on a grid (cells) can be drawn")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = (cells.max(axis=0) + 1).tolist()
    values = np.full((height, width), np.nan)
    values[cells[:, 0], cells[:, 1]] = _now(solution.values, solution)
    size = min(max(4.0, 0.5 * max(height, width)), 10.0)
    figure = Figure(figsize=(size * min(1.0, width / height) + 1.2, size * min(1.0, height / width) + 0.6), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("#3a3a3a")
    drawn = axes.imshow(values, cmap="viridis", interpolation="nearest")
    figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{solution.method.replace('_', ' ')}, discount {solution.discount:g}", fontsize=10, loc="left")
    if max(height, width) <= 40:
        middle = np.nanmin(values) + 0.6 * (np.nanmax(values) - np.nanmin(values))
        for (row, column), word in zip(cells.tolist(), labels_of(solution), strict=True):
            dark = values[row, column] < middle
            axes.text(column, row, word, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.savefig(path, format="png", bbox_inches="tight", metadata={"Software": None})
