"""Processes of our own: spawned without the script that was run, ended with the process that started them.

Spawned, never forked: JAX and simulators have threads, which a fork would leave half alive.
"""

import contextlib
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from operant.errors import OperantError
from operant.workers.named import first_line

CONTEXT = get_context("spawn")
GONE = (EOFError, ConnectionError)  # what a pipe raises whose other end is gone
GRACE = 5.0  # seconds that all processes together have for tidying up


def dumped(recipe: Any) -> Any:
    """What to send to another process. Raises `OperantError` where it cannot be: a lambda, what a script defines."""
    try:
        with _without_main():
            return ForkingPickler.dumps(recipe)
    except Exception as error:
        raise OperantError(f"it cannot be sent to another process ({first_line(error)})") from error


def spawn(target: Callable[..., None], arguments: Sequence[tuple], pipes: list[Connection], workers: list[Any]) -> None:
    """Start a process `target(pipe, *each)` for each of `arguments`; our ends of the pipes and the processes go into
    the lists one by one, so that `end` finds what was started whatever happens.
    """
    resource_tracker.ensure_running()  # it would lift the hold below
    with _without_main(), _interrupts_held():
        for each in arguments:
            ours, theirs = CONTEXT.Pipe()
            worker = CONTEXT.Process(target=target, args=(theirs, *each), daemon=True)
            worker.start()
            theirs.close()  # so that a worker's end is seen as the end of its pipe
            pipes.append(ours)
            workers.append(worker)


def started() -> None:
    """To be called first in a spawned process: Ctrl-C reaches every process, and the one that started it decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def attempt(do: Callable[..., Any], *arguments: Any) -> tuple[bool, Any]:
    """`(True, what it returned)`, or `(False, what went wrong)`."""
    try:
        return True, do(*arguments)
    except GONE:
        raise
    except OperantError as error:
        return False, str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {first_line(error)}"


def end(pipes: list[Connection], workers: list[Any]) -> None:
    """Close the pipes, which tells the processes to end, and see to it that they do."""
    for pipe in pipes:
        pipe.close()
    deadline = time.monotonic() + GRACE
    for stop in (lambda worker: None, lambda worker: worker.terminate(), lambda worker: worker.kill()):
        for worker in workers:
            if worker.is_alive():
                stop(worker)
        for worker in workers:
            worker.join(max(0.5, deadline - time.monotonic()))


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Spawning as if no script had been run.

    A spawned process imports the script anew. Workers need nothing of it, and a script without the guard
    `if __name__ == "__main__"` would begin to train in each of them.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits, and is held for processes started meanwhile until they lift it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
