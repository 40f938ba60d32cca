"""Live progress for people: a line on a terminal, plain lines now and then without one; always standard error."""

import sys
import time
from typing import Any

from operant.core.training import Progress

PLAIN_SECONDS = 5.0


class Reporter:
    """Called between chunks with the progress of training; `close` leaves the cursor on a fresh line."""

    def __init__(self, mode: str = "auto", title: str = ""):
        """`mode`: `auto` (a line on a terminal, plain lines otherwise), `plain`, or `none`."""
        self.title, self._shown, self._bar, self._task = title, 0.0, None, None
        self.plain = mode == "plain" or not sys.stderr.isatty()
        self.silent = mode == "none"
        if not self.silent and not self.plain:
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
        if now - self._shown >= PLAIN_SECONDS or progress.steps >= progress.total_steps:
            self._shown = now
            print(f"{self.title}: {told(progress)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def told(progress: Progress) -> str:
    """`120,000 of 200,000 steps, 150,000 steps/s, return 431.2, 3 s left`."""
    parts = [f"{progress.steps:,} of {progress.total_steps:,} steps"]
    if progress.steps_per_second:
        parts.append(f"{progress.steps_per_second:,.0f} steps/s")
    returns = [row["episode_return"] for row in progress.rows if row.get("episode_return") is not None]
    if returns:
        parts.append(f"return {sum(returns) / len(returns):.1f}")
    if progress.diverged:
        parts.append(f"diverged: seed {', '.join(map(str, progress.diverged))}")
    if progress.steps_per_second:
        seeds = max(len(progress.rows), 1)
        left = (progress.total_steps - progress.steps) * seeds / progress.steps_per_second
        parts.append(f"{left:.0f} s left")
    return ", ".join(parts)
