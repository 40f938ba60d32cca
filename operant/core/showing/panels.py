"""What a learner expects of each action, drawn beside the picture of an environment.

One row an action: a bar to its value, or the distribution of its return with a mark at the mean; the greedy action's
in another colour, and nothing of an illegal one. All pictures of an episode share one scale.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from operant.contracts import Outlook

WIDTH = 180  # pixels
LOWEST = 120  # pixels of height, at least
GROUND, INK, PALE, FAINT, REST, BEST = "#ffffff", "#30343a", "#9aa0a8", "#d9dce1", "#8fb1d6", "#d1622b"
BINS = 32  # of a distribution, at most
UNLIKELY = 0.005  # the share of returns beyond the scale's ends, on either side


def beside(pictures: Sequence[Any], outlooks: Sequence[Outlook]) -> list[Any]:
    """PIL images with a panel of each one's `outlook` (of a single observation) on their right."""
    from PIL import Image

    scale, drawn = scale_of(outlooks), []
    for picture, outlook in zip(pictures, outlooks, strict=True):
        panel = _panel(outlook, scale, max(picture.height, LOWEST))
        both = Image.new("RGB", (picture.width + WIDTH, panel.height), GROUND)
        both.paste(picture, (0, (panel.height - picture.height) // 2))
        both.paste(panel, (picture.width, 0))
        drawn.append(both)
    return drawn


def scale_of(outlooks: Sequence[Outlook]) -> tuple[float, float]:
    """The least and the greatest return to be shown: all values, and all but the unlikeliest returns."""
    low, high = np.inf, -np.inf
    for outlook in outlooks:
        ends = [outlook.values]
        if outlook.returns is not None and outlook.chances is not None:
            order = np.argsort(outlook.returns, axis=-1)
            below = np.cumsum(np.take_along_axis(outlook.chances, order, axis=-1), axis=-1)
            returns = np.take_along_axis(outlook.returns, order, axis=-1)
            # A return is beyond the scale where those up to it, or from it on, are unlikely together.
            above = 1 - below + np.take_along_axis(outlook.chances, order, axis=-1)
            legal = (outlook.values != -np.inf)[:, None]
            ends.append(returns[legal & (below > UNLIKELY) & (above > UNLIKELY)])
        finite = np.concatenate([end[np.isfinite(end)].ravel() for end in ends])
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not np.isfinite([low, high]).all():
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def histogram(returns: np.ndarray, chances: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """The probability within each part of the scale, of returns `[N]`; what lies beyond counts at its ends.

    As many parts as there are returns within the scale, at most `BINS`: evenly spaced returns leave no gaps.
    """
    low, high = scale
    bins = max(1, min(BINS, int(((returns >= low) & (returns <= high)).sum())))
    place = np.clip((returns - low) / (high - low) * bins, 0, bins - 1).astype(int)
    return np.bincount(place, chances, bins)


def _panel(outlook: Outlook, scale: tuple[float, float], height: int) -> Any:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, height), GROUND)
    draw, line = ImageDraw.Draw(image), 14
    what = "values of actions" if outlook.returns is None else "returns of actions"
    draw.text((8, 2), what, INK)
    left, right = 24, WIDTH - 44
    across = lambda value: float(np.interp(value, scale, (left, right)))  # noqa: E731
    best, number = int(np.argmax(outlook.values)), len(outlook.values)
    room = (height - 2 * line) / number
    for action, value in enumerate(outlook.values):
        top, colour = line + action * room, BEST if action == best else REST
        bottom = top + max(room - 3, 1)
        legal = value != -np.inf
        if not legal:
            pass
        elif outlook.returns is None or outlook.chances is None:
            draw.rectangle((left, top + 1, across(value), bottom), fill=colour)
        else:
            shares = histogram(outlook.returns[action], outlook.chances[action], scale)
            edges = np.linspace(left, right, len(shares) + 1)
            heights = (bottom - top - 1) * shares / max(shares.max(), 1e-12)
            for k in np.flatnonzero(heights >= 0.5):
                draw.rectangle((edges[k], bottom - heights[k], edges[k + 1] - 1, bottom), fill=colour)
            draw.line((across(value), bottom, across(value), bottom + 2), fill=INK, width=2)
        draw.line((left, bottom, right, bottom), fill=FAINT)
        if room >= line - 4:
            middle = (top + bottom - line) / 2 + 1
            place, said, ink = ((right + 4, middle), _short(value), INK) if legal else ((left, middle), "illegal", PALE)
            draw.text((8, middle), str(action), ink)
            draw.text(place, said, ink)
    draw.text((left - 8, height - line), _short(scale[0]), INK)
    draw.text((right, height - line), _short(scale[1]), INK, anchor="ra")
    return image


def _short(value: float) -> str:
    return f"{value:.3g}"
