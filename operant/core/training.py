"""The training loop on the host: chunks between fixed borders, rows of metrics, checkpoints, a clean stop.

Rows and checkpoints fall on iterations that depend on the plan alone; only the length of the chunks between them
follows the clock on the wall, and that changes nothing.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from operant.core.metrics import WATCHED
from operant.core.runs.journal import Journal
from operant.core.selection import Selection
from operant.core.signals import signals
from operant.errors import DivergedError, OperantError

ROWS = 100
CHECKPOINTS = 10
CHUNK_SECONDS = 0.3  # of iterations, beside what a chunk costs however short it is


@dataclass
class Progress:
    """How training stands, as shown and as passed to callbacks; docs/metrics.md names what rows hold."""

    steps: int  # environment steps so far, per seed
    total_steps: int
    seconds: float  # since this process began to train, compilation and evaluation left out
    compile_seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)  # the newest metrics, one row a seed
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # the newest evaluation, one row a seed
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
    selection: Selection | None = None  # the best policies, where there was evaluation


class Plan(NamedTuple):
    """What is to be trained."""

    carry: Any  # the driver's, after `iteration` iterations
    iteration: int
    end: int
    horizon: int  # the iterations that the run began with: progress, which schedules follow, is the share of them


class TrainingError(OperantError):
    """The environment failed while training ran; what came before is saved."""


def run(
    driver: Any,
    plan: Plan,
    journal: Journal,
    selection: Selection | None = None,
    report: Callable[[Progress], bool | None] = lambda progress: None,
) -> Outcome:
    """Train by `plan`; `report` is called between chunks and may return True to stop.

    Evaluation reads copies of the policies and changes nothing in training.

    Raises `DivergedError` where the only seed (or every seed) stopped being finite; the last checkpoint is from
    before. An `OperantError` of a host environment becomes a `TrainingError`, after a checkpoint of the state before.
    """
    carry, iteration, end, horizon = plan
    per, seeds = driver.steps_per_iteration, journal.seeds
    rows_every, saves_every = -(-horizon // ROWS), -(-horizon // CHECKPOINTS)
    fixed = [rows_every, saves_every, *([selection.every] if selection else [])]
    progress = Progress(iteration * per, end * per, 0.0, 0.0)
    chunk, begun, first, overhead = 1, iteration, True, 0.0

    def advance(carry: Any, iteration: int, count: int) -> tuple[Any, np.ndarray, float]:
        """The carry after a chunk, its faults, and the seconds it took."""
        clock = time.perf_counter()
        carry = driver.advance(carry, iteration, count, horizon)
        faults = np.asarray(carry.health.fault).reshape(len(seeds), -1)
        return carry, faults, time.perf_counter() - clock

    def save(carry: Any, iteration: int) -> None:
        journal.save(driver, carry, selection.best if selection else None, iteration, horizon)

    with signals() as stop, closing(journal):
        if iteration == 0:
            save(carry, 0)
        while iteration < end and not stop.asked:
            border = min(end, *(every * (iteration // every + 1) for every in fixed))
            count = min(chunk, border - iteration)
            try:
                carry, faults, took = advance(carry, iteration, count)
                if first and iteration + count < end:
                    # An empty chunk shows what every one costs, and what makes longer ones worth while.
                    carry, _, overhead = advance(carry, iteration + count, 0)
            except OperantError as error:
                if driver.latest is not None:
                    save(*driver.latest)
                raise TrainingError(str(error)) from error
            iteration += count
            if first:  # this one compiled
                progress.compile_seconds, first, begun = took, False, iteration
            else:
                progress.seconds += took
                progress.steps_per_second = (iteration - begun) * per * len(seeds) / progress.seconds
                overhead = min(overhead, took)
                chunk = max(1, min(4 * chunk, int(count * CHUNK_SECONDS / max(took - overhead, 1e-4))))
            progress.steps = iteration * per
            examine(faults, seeds, per, progress)
            if iteration % rows_every == 0 or iteration == end:
                progress.rows = rows_of(carry, seeds, progress.steps)
                journal.add(progress.rows)
                carry = driver.cleared(carry)
            if selection and (iteration % selection.every == 0 or iteration == end):
                progress.evaluations = selection(driver.policies(carry), progress.steps)
                journal.add(progress.evaluations)
                stop.asked = stop.asked or selection.reached
            if iteration % saves_every == 0 and iteration < end:
                save(carry, iteration)
            if report(progress):
                stop.asked = True
        save(carry, iteration)
    return Outcome(carry, iteration, progress, journal.history, iteration < end, stop.signal, selection)


def examine(faults: np.ndarray, seeds: list[int], per: int, progress: Progress) -> None:
    """Note the seeds that are not finite any more; raise where none is left."""
    bad = np.any(faults >= 0, axis=1)
    progress.diverged = [seed for seed, broken in zip(seeds, bad, strict=True) if broken]
    if bad.all():
        first = np.where(faults >= 0, faults, np.iinfo(np.int32).max)
        quantity = WATCHED[int(first[0].argmin())]
        step = (int(first[0].min()) + 1) * per
        which = "training" if len(seeds) == 1 else "training of every seed"
        if quantity == "action mask":
            raise DivergedError(
                f"{which} stopped: by step {step:,} an action_mask allowed no action; the last good checkpoint is kept"
            )
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
