"""Stopping training cleanly: Ctrl-C, SIGTERM, or whoever asks in the program."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether somebody asked to stop: Ctrl-C, SIGTERM, a callback, or an evaluation that was good enough."""

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
