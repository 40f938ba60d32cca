"""Live progress for people: a line on a terminal, an output with the curve in a notebook, plain lines elsewhere.

Lines go to standard error.
"""

import sys
import time
from typing import Any

from operant.core.showing import notebook
from operant.core.training import Progress
from operant.errors import unknown

MODES = ("auto", "plain", "none")
PLAIN_SECONDS = 5.0
NOTEBOOK_SECONDS = 0.5


class Reporter:
    """Called between chunks with the progress of training; `close` leaves the cursor on a fresh line."""

    def __init__(self, mode: str = "auto", title: str = ""):
        """`mode`: `auto` (a line on a terminal, an output in a notebook, plain lines otherwise), `plain`, or `none`."""
        self.title, self._shown, self._bar, self._task = title, 0.0, None, None
        self._output: notebook.Output | None = None
        self._newest: Progress | None = None
        self._points: list[tuple[float, float]] = []
        if mode not in MODES:
            raise unknown("progress", str(mode), MODES)
        self.silent = mode == "none"
        if self.silent or mode == "plain":
            return
        if notebook.in_kernel():
            self._output = notebook.Output()
        elif sys.stderr.isatty():
            self._open()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self._bar: Any = Bar(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(self.title, total=None, told="compiling ...")
        self._bar.start()

    def __call__(self, progress: Progress) -> None:
        if self.silent:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.steps, total=progress.total_steps, told=told(progress))
            return
        now = time.monotonic()
        if self._output is not None:
            self._newest = progress
            seen = mean_return(progress)
            if seen is not None and (not self._points or self._points[-1][0] < progress.rows[0]["steps"]):
                self._points.append((progress.rows[0]["steps"], seen))
            if now - self._shown >= NOTEBOOK_SECONDS:
                self._shown = now
                self._renew()
            return
        if now - self._shown >= PLAIN_SECONDS or progress.steps >= progress.total_steps:
            self._shown = now
            print(f"{self.title}: {told(progress)}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """One line beside the progress, which stays."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not self.silent:
            print(line, file=sys.stderr, flush=True)

    def _renew(self) -> None:
        if self._output is not None and self._newest is not None:
            self._output.show(notebook.live(self.title, told(self._newest), self._points))

    def close(self) -> None:
        self._renew()
        if self._bar is not None:
            self._bar.stop()


def told(progress: Progress) -> str:
    """`120,000 of 200,000 steps, 150,000 steps/s, return 431.2, 3 s left`."""
    parts = [f"{progress.steps:,} of {progress.total_steps:,} steps"]
    if progress.steps_per_second:
        parts.append(f"{progress.steps_per_second:,.0f} steps/s")
    if (seen := mean_return(progress)) is not None:
        parts.append(f"return {seen:.1f}")
    means = [row["evaluation/mean"] for row in progress.evaluations if row["evaluation/mean"] is not None]
    if means:
        parts.append(f"evaluation {sum(means) / len(means):.1f}")
    if progress.diverged:
        parts.append(f"diverged: seed {', '.join(map(str, progress.diverged))}")
    if progress.steps_per_second:
        seeds = max(len(progress.rows), 1)
        left = (progress.total_steps - progress.steps) * seeds / progress.steps_per_second
        parts.append(f"{left:.0f} s left")
    return ", ".join(parts)


def mean_return(progress: Progress) -> float | None:
    """The newest mean episode return over the seeds that have one."""
    returns = [row["episode_return"] for row in progress.rows if row.get("episode_return") is not None]
    return sum(returns) / len(returns) if returns else None
