"""What the figures share: numbers with their intervals, pictures, and the page that shows them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Standard errors on either side. A right number is outside once in 370 times; that seeds are fixed keeps it in or out.
WIDTH = 3.0
COLOURS = ("#1f5fa8", "#d1622b", "#2f8f5b", "#8a4fa8", "#b8860b", "#8a8a8a", "#c2185b", "#00838f")


@dataclass(frozen=True)
class Number:
    """A number found, and the interval `expected` ± `margin` in which it must lie."""

    label: str
    found: float
    expected: float
    margin: float
    digits: int = 3

    @property
    def inside(self) -> bool:
        return bool(abs(self.found - self.expected) <= self.margin)  # False where it is not a number


@dataclass(frozen=True)
class Figure:
    """A figure of the book: the picture as PNG, what it shows, and the numbers read from it."""

    name: str
    title: str
    text: str
    picture: bytes = field(repr=False)
    numbers: Sequence[Number] = ()


def statistical(
    label: str, samples: np.ndarray, expected: float, rounding: float, published_runs: int, digits: int = 3
) -> Number:
    """The mean of independent runs `[N]`, against a published mean of `published_runs` runs given to ± `rounding`.

    Both means vary: the interval is `WIDTH` standard errors of their difference, and the rounding.
    """
    error = np.std(samples, ddof=1) * np.sqrt(1 / len(samples) + 1 / published_runs)
    return Number(label, float(np.mean(samples)), expected, float(WIDTH * error + rounding), digits)


def exact(label: str, found: float, expected: float, digits: int) -> Number:
    """A number that was computed, against one that is known to so many digits."""
    return Number(label, float(found), expected, 0.5001 * 10.0**-digits, digits)


def sheet(panels: int = 1, width: float = 6.4, height: float = 4.0) -> tuple[Any, list[Any]]:
    """A figure with `panels` axes side by side, without pyplot: `(figure, axes)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, list(np.ravel(canvas.subplots(1, panels)))


def curves(axes: Any, x: str, y: str, title: str = "") -> None:
    """Label axes that hold curves."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=8)


def image(axes: Any, values: np.ndarray, title: str, words: Any = None, **style: Any) -> Any:
    """A table drawn as a picture, with `words` in its cells."""
    drawn = axes.imshow(values, **{"cmap": "viridis", "interpolation": "nearest", **style})
    axes.set_title(title, fontsize=10, loc="left")
    if words is not None:
        axes.set(xticks=[], yticks=[])
        middle = np.nanmin(values) + 0.6 * np.ptp(values[np.isfinite(values)])
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value < middle else "black"
            axes.text(column, row, words[row][column], ha="center", va="center", fontsize=8, color=colour)
    return drawn


def png(canvas: Any) -> bytes:
    """The finished picture."""
    file = io.BytesIO()
    canvas.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def cells(number: Number) -> tuple[str, ...]:
    """A number as a row of a table: what, found, expected, interval, verdict."""
    low, high = number.expected - number.margin, number.expected + number.margin
    said = [f"{value:z.{number.digits}f}" for value in (number.found, number.expected, low, high)]
    return number.label, said[0], said[1], f"{said[2]} … {said[3]}", "inside" if number.inside else "**outside**"


def page(figures: Sequence[Figure], command: str, measured: str) -> str:
    """The page in Markdown, beside the pictures."""
    lines = [
        "# The book's figures",
        "",
        'Figures of Sutton & Barto, "Reinforcement Learning: An Introduction", 2nd edition, 2018, computed anew by',
        f"`{command}`, which fails where a number is outside of its interval; {measured}.",
        "",
        f"An interval is {WIDTH:g} standard errors of the difference of two means, this one's and the one it is held",
        "against, which was taken over as many runs as the figure in the book, and the rounding of the latter; for",
        "values that are exact, the rounding alone.",
    ]
    for figure in figures:
        lines += ["", f"## {figure.title}", "", figure.text, "", f"![{figure.title}]({figure.name}.png)", ""]
        lines += [f"`python -m book {figure.name}`"]
        if figure.numbers:
            lines += ["", "| number | found | expected | interval | |", "| --- | ---: | ---: | ---: | --- |"]
            lines += ["| " + " | ".join(cells(number)) + " |" for number in figure.numbers]
    return "\n".join(lines) + "\n"
