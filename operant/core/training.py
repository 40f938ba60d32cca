"""The training loop on the host: chunks between fixed borders, rows of metrics, checkpoints, a clean stop.

Rows and checkpoints fall on iterations that depend on the plan alone; only the length of the chunks between them
follows the clock on the wall, and that changes nothing.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operant.core import checkpoint
from operant.core.compiled import CompiledDriver
from operant.core.host import HostDriver
from operant.core.metrics import WATCHED
from operant.core.runs import RunFolder
from operant.core.tensorboard import Board
from operant.errors import DivergedError, OperantError

ROWS = 100
CHECKPOINTS = 10
CHUNK_SECONDS = 0.3


@dataclass
class Progress:
    """How training stands, as shown and as passed to callbacks."""

    steps: int  # environment steps so far, per seed
    total_steps: int
    seconds: float  # since this process began to train, compilation left out
    compile_seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)  # the newest metrics, one row a seed
    diverged: list[int] = field(default_factory=list)  # seeds that were frozen
    steps_per_second: float = 0.0  # over all seeds


@dataclass
class Outcome:
    """What training left."""

    carry: Any
    iteration: int
    progress: Progress
    history: list[list[dict[str, Any]]]  # rows by seed
    interrupted: bool
    signal: int | None = None  # the signal that asked for it


class TrainingError(OperantError):
    """The environment failed while training ran; what came before is saved."""


class Stop:
    """Whether somebody asked to stop: Ctrl-C, SIGTERM, or a callback."""

    asked = False
    signal: int | None = None


@contextmanager
def signals() -> Iterator[Stop]:
    """Catch Ctrl-C and SIGTERM while training; a second Ctrl-C interrupts at once. Main thread only."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked, stop.signal = True, number

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    driver: CompiledDriver | HostDriver,
    carry: Any,
    iteration: int,
    end: int,
    horizon: int,
    seeds: list[int],
    folder: RunFolder | None,
    history: list[list[dict[str, Any]]] | None = None,
    report: Callable[[Progress], bool | None] = lambda progress: None,
) -> Outcome:
    """Train from `iteration` to `end`; `report` is called between chunks and may return True to stop.

    Progress, which schedules follow, is the share of `horizon`, the iterations that the run began with.

    Raises `DivergedError` where the only seed (or every seed) stopped being finite; the last checkpoint is from
    before. An `OperantError` of a host environment becomes a `TrainingError`, after a checkpoint of the state before.
    """
    per = driver.steps_per_iteration
    rows_every, saves_every = max(1, horizon // ROWS), max(1, horizon // CHECKPOINTS)
    history = history or [[] for _ in seeds]
    progress = Progress(iteration * per, end * per, 0.0, 0.0)
    chunk, begun, first = 1, iteration, True

    def save(carry: Any, iteration: int) -> None:
        if folder is not None:
            name, told = f"{iteration * per:015d}", {"iteration": iteration, "horizon": horizon}
            # The policy apart, so that an agent can be loaded without its environment or its replay.
            checkpoint.save(folder.policies, name, driver.policies(carry), told)
            checkpoint.save(folder.checkpoints, name, carry, told)
            checkpoint.prune(folder.policies)
            checkpoint.prune(folder.checkpoints)

    board = Board(folder.path, iteration * per, len(seeds) > 1) if folder is not None else None
    with signals() as stop, closing(board) if board is not None else nullcontext():
        if iteration == 0:
            save(carry, 0)
        while iteration < end and not stop.asked:
            border = min(end, *(every * (iteration // every + 1) for every in (rows_every, saves_every)))
            count = min(chunk, border - iteration)
            clock = time.perf_counter()
            try:
                carry = driver.advance(carry, iteration, count, horizon)
                faults = np.asarray(carry.health.fault).reshape(len(seeds), -1)
            except OperantError as error:
                carry, iteration = getattr(driver, "latest", (carry, iteration))
                save(carry, iteration)
                raise TrainingError(str(error)) from error
            took = time.perf_counter() - clock
            iteration += count
            if first:  # this one compiled
                progress.compile_seconds, first, begun = took, False, iteration
            else:
                progress.seconds += took
                progress.steps_per_second = (iteration - begun) * per * len(seeds) / progress.seconds
                chunk = max(1, min(4 * chunk, int(count * CHUNK_SECONDS / max(took, 1e-4))))
            progress.steps = iteration * per
            examine(faults, seeds, per, progress)
            if iteration % rows_every == 0 or iteration == end:
                progress.rows = rows_of(carry, seeds, progress.steps)
                for told, new in zip(history, progress.rows, strict=True):
                    told.append(new)
                    if folder is not None and board is not None:
                        folder.append_metrics(new)
                        board.add(new)
                carry = driver.cleared(carry)
            if iteration % saves_every == 0 and iteration < end:
                save(carry, iteration)
            if report(progress):
                stop.asked = True
        save(carry, iteration)
    return Outcome(carry, iteration, progress, history, iteration < end, stop.signal)


def examine(faults: np.ndarray, seeds: list[int], per: int, progress: Progress) -> None:
    """Note the seeds that are not finite any more; raise where none is left."""
    bad = np.any(faults >= 0, axis=1)
    progress.diverged = [seed for seed, broken in zip(seeds, bad, strict=True) if broken]
    if bad.all():
        first = np.where(faults >= 0, faults, np.iinfo(np.int32).max)
        quantity = WATCHED[int(first[0].argmin())]
        step = (int(first[0].min()) + 1) * per
        which = "training" if len(seeds) == 1 else "training of every seed"
        raise DivergedError(
            f"{which} diverged: the {quantity} became NaN or infinite by step {step:,}; "
            "the last good checkpoint is kept (a lower learning rate, or a bound on rewards, often helps)"
        )


def rows_of(carry: Any, seeds: list[int], steps: int) -> list[dict[str, Any]]:
    """The metrics since they were cleared, one row a seed; None for what did not happen."""
    totals = {
        name: (np.asarray(r.total).reshape(-1), np.asarray(r.count).reshape(-1)) for name, r in carry.totals.items()
    }
    return [
        {"steps": steps, "seed": seed}
        | {name: (float(total[k] / count[k]) if count[k] > 0 else None) for name, (total, count) in totals.items()}
        for k, seed in enumerate(seeds)
    ]
