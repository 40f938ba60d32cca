"""Notebooks: whether this is one, an output that is renewed in place, tables and curves as HTML.

IPython is used only where it is already loaded, and everything that is shown is escaped.
"""

import base64
import html
import sys
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH, HEIGHT = 420, 90  # pixels of the live curve


def in_kernel() -> bool:
    """Whether this process is a notebook's kernel (Jupyter, Colab, VS Code), which shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Output:
    """One output of the cell that runs, renewed in place."""

    def __init__(self) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        self._html = HTML
        self._handle: Any = display(HTML(""), display_id=True)

    def show(self, text: str) -> None:
        self._handle.update(self._html(text))


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """Rows of cells as an HTML table."""

    def line(cells: Sequence[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    head = line(header, "th") if header else ""
    return f"<table>{head}{''.join(line(row, 'td') for row in rows)}</table>"


def picture(data: bytes, about: str, kind: str = "image/png") -> str:
    """A picture inside the page itself."""
    text = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(about)}" width="480" src="data:{kind};base64,{text}">'


def live(title: str, told: str, points: Sequence[tuple[float, float]]) -> str:
    """What training shows: a line of text, and the curve `(steps, return)` so far."""
    return f"<div><b>{html.escape(title)}</b><br>{html.escape(told)}<br>{_curve(points)}</div>"


def _curve(points: Sequence[tuple[float, float]]) -> str:
    if len(points) < 2:
        return ""
    x, y = ([point[axis] for point in points] for axis in (0, 1))
    wide, high = max(x) - min(x) or 1.0, max(y) - min(y) or 1.0
    at = (f"{WIDTH * (a - min(x)) / wide:.1f},{HEIGHT * (1 - (b - min(y)) / high):.1f}" for a, b in points)
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT + 8}" viewBox="-4 -4 {WIDTH + 8} {HEIGHT + 8}" role="img">'
        f"<title>episode return {min(y):.1f} to {max(y):.1f}</title>"
        f'<polyline points="{" ".join(at)}" fill="none" stroke="#1f5fa8" stroke-width="1.8"/></svg>'
    )
