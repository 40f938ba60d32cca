"""The learning curve of a run, as a picture.

Matplotlib is imported when a curve is drawn, and used without pyplot: no window system, no global state.
"""

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.runs.files import replace_file
from operant.core.statistics import bootstrap_interval

LABELS = {
    "steps": "environment steps",
    "episode_return": "episode return",
    "episode_length": "episode length (steps)",
    "seconds": "time (s)",
}
POINTS = 300  # of the mean over seeds; more cannot be seen
MOST_NAMED = 8  # settings in a legend
_LINE, _MARK, _FAINT = "#1f5fa8", "#d1622b", "#8a8a8a"


def plot_curve(
    path: Path, rows_by_seed: list[list[dict[str, Any]]], title: str, x: str = "steps", y: str = "episode_return"
) -> None:
    """Save `curve_png` as `path`, at once. Raises `CheckpointError` where the file cannot be written."""
    replace_file(path, curve_png(rows_by_seed, title, x, y))


def curve_png(
    rows_by_seed: list[list[dict[str, Any]]], title: str, x: str = "steps", y: str = "episode_return"
) -> bytes:
    """Draw `y` over `x` from the metric rows of each seed: a PNG.

    Several seeds: their mean and its 95 % bootstrap interval, where all have data, and each seed thinly. One seed:
    the raw line thinly and a moving average. Rows with a finite `evaluation/mean` add markers (means over the
    seeds evaluated at that `x`); rows without a finite `y` are skipped.
    """
    figure, axes = _empty(title, x, y)
    curves = [curve for rows in rows_by_seed if len(curve := _points(rows, x, y))]
    evaluations = _evaluations(rows_by_seed, x)
    if len(curves) == 1:
        _draw_one(axes, curves[0])
    elif curves:
        _draw_seeds(axes, curves)
    if len(evaluations):
        style = {"markersize": 5, "markerfacecolor": "white", "markeredgewidth": 1.4, "linewidth": 0, "zorder": 4}
        axes.plot(*evaluations.T, "o", color=_MARK, label="evaluation", **style)
    return _finished(figure, axes, bool(curves or len(evaluations)))


def plot_settings(path: Path, rows_by_setting: list[list[list[dict[str, Any]]]], labels: list[str], title: str) -> None:
    """Save a picture with the mean episode return over seeds of each setting, a line each, named by `labels`.

    Colours follow the order of the settings; where they are many, those that end highest are named.
    """
    from matplotlib import colormaps

    figure, axes = _empty(title, "steps", "episode_return")
    lines = {}
    for number, rows_by_seed in enumerate(rows_by_setting):
        curves = [curve for rows in rows_by_seed if len(curve := _points(rows, "steps", "episode_return"))]
        if curves and (together := _together(curves)) is not None:
            lines[number] = together[0], together[1].mean(axis=0)
    named = sorted(lines, key=lambda number: -lines[number][1][-1])[:MOST_NAMED]
    colours = colormaps["viridis"](np.linspace(0.0, 0.92, max(len(rows_by_setting), 2)))
    for number, line in lines.items():
        label = labels[number] if number in named else "_"
        axes.plot(*line, color=colours[number], linewidth=1.4, alpha=0.9, label=label)
    replace_file(path, _finished(figure, axes, bool(lines)))


def _empty(title: str, x: str, y: str) -> tuple[Any, Any]:
    """A figure and its axes, with nothing drawn yet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left", parse_math=False)
    axes.set_xlabel(LABELS.get(x, x), parse_math=False)
    axes.set_ylabel(LABELS.get(y, y), parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure, axes


def _finished(figure: Any, axes: Any, drawn: bool) -> bytes:
    if drawn:
        axes.margins(x=0.02)
        axes.legend(frameon=False, fontsize=9, loc="best")
    else:
        axes.set(xticks=[], yticks=[])
        centre = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no episode has ended yet", color=_FAINT, **centre)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _points(rows: Sequence[dict[str, Any]], x: str, y: str) -> np.ndarray:
    """The finite `(x, y)` of `rows`, `[n, 2]`, in the order of x."""
    pairs = [(row.get(x), row.get(y)) for row in rows]
    points = np.array([pair for pair in pairs if all(map(_is_number, pair))], np.float64).reshape(-1, 2)
    return points[np.argsort(points[:, 0], kind="stable")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _evaluations(rows_by_seed: list[list[dict[str, Any]]], x: str) -> np.ndarray:
    at: dict[float, list[float]] = defaultdict(list)
    for rows in rows_by_seed:
        for where, value in _points(rows, x, "evaluation/mean"):
            at[where].append(value)
    return np.array([(where, np.mean(values)) for where, values in sorted(at.items())]).reshape(-1, 2)


def _draw_one(axes: Any, curve: np.ndarray) -> None:
    width = len(curve) // 30 | 1  # odd, about a thirtieth of the curve
    if width == 1:
        axes.plot(*curve.T, color=_LINE, linewidth=1.8, marker="." if len(curve) < 3 else "", label="training")
        return
    # At the ends the average is over the points that there are, so that it neither lags nor stops short.
    weights = np.ones(width)
    smooth = np.convolve(curve[:, 1], weights, "same") / np.convolve(np.ones(len(curve)), weights, "same")
    axes.plot(*curve.T, color=_LINE, linewidth=0.8, alpha=0.3, label="training")
    axes.plot(curve[:, 0], smooth, color=_LINE, linewidth=1.8, label=f"moving average ({width} points)")


def _draw_seeds(axes: Any, curves: list[np.ndarray]) -> None:
    for number, curve in enumerate(curves):
        label = "_" if number else "each seed"  # matplotlib leaves names with an underscore out of the legend
        axes.plot(*curve.T, color=_FAINT, linewidth=0.6, alpha=0.35, zorder=1, label=label)
    together = _together(curves)
    if together is None:
        return
    grid, values = together
    low, high = bootstrap_interval(values)
    axes.fill_between(grid, low, high, color=_LINE, alpha=0.28, linewidth=0, label="95 % interval of the mean")
    axes.plot(grid, values.mean(axis=0), color=_LINE, linewidth=1.8, label=f"mean of {len(curves)} seeds")


def _together(curves: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """`(x [n], y [curves, n])` where all curves have data; None where they never have: ages are not mixed in a mean."""
    start, end = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    if start > end:
        return None
    grid = np.unique(np.clip(np.concatenate([curve[:, 0] for curve in curves]), start, end))
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, min(len(grid), POINTS)).round().astype(int))]
    return grid, np.stack([np.interp(grid, *curve.T) for curve in curves])
