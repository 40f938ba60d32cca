"""Compute the figures, draw them, and say whether every number is inside of its interval.

    python -m book [FIGURE ...] [--folder docs/book]

The page README.md is written when all figures were computed. What is printed for people goes to standard error; the
exit status is 1 where a number is outside.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from operant.core import runtime
from operant.core.runs.files import replace_file
from operant.errors import OperantError

runtime.prepare()  # before anything below makes an array

from book import control, importance, planning, testbed, walks  # noqa: E402
from book.harness import Figure, cells, page  # noqa: E402

FIGURES: dict[str, Callable[[], Figure]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        testbed.figure_2_2, testbed.figure_2_3, testbed.figure_2_4, testbed.figure_2_5, planning.figure_3_2,
        planning.figure_3_5, planning.figure_4_1, planning.figure_4_2, planning.figure_4_3, planning.figure_5_1,
        planning.figure_5_2, importance.figure_5_4, walks.figure_6_2, control.figure_6_5, control.figure_6_6,
        walks.figure_7_2, control.figure_8_2, control.figure_8_4, control.figure_8_5, walks.figure_12_8,
    )
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m book", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; without any, all")
    parser.add_argument("--folder", type=Path, default=Path("docs/book"), help="where pictures and page are written")
    given = parser.parse_args(arguments)
    if strange := set(given.figures) - set(FIGURES):
        parser.error(f"there is no {', '.join(sorted(strange))}; there are {', '.join(FIGURES)}")

    console, begun, drawn = Console(stderr=True, highlight=False, markup=False, soft_wrap=True), time.monotonic(), []
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
        for name in given.figures or FIGURES:
            start = time.monotonic()
            figure = FIGURES[name]()
            replace_file(given.folder / f"{name}.png", figure.picture)
            drawn.append(figure)
            console.print(f"{figure.title}  ({time.monotonic() - start:.1f} s)")
            for number in figure.numbers:
                label, found, _, interval, verdict = cells(number)
                console.print(f"    {label:<52} {found:>10}   in {interval:<22} {verdict.strip('*')}")
        spent = f"{time.monotonic() - begun:.0f} s, {time.process_time():.0f} s of processor time"
        console.print(f"{len(drawn)} figures in {spent}, written to {given.folder}")
        if not given.figures:
            cores = len(os.sched_getaffinity(0)) if runtime.LINUX else os.cpu_count()
            measured = f"this page took {spent}, on {cores} {platform.machine()} cores"
            replace_file(given.folder / "README.md", page(drawn, "make book", measured).encode())
    except (OperantError, OSError) as error:
        console.print(f"error: {error}")
        return 1
    outside = [number.label for figure in drawn for number in figure.numbers if not number.inside]
    if outside:
        console.print(f"outside of their intervals: {'; '.join(outside)}")
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main())
