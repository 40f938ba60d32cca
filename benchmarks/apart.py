"""Processes of their own for what is measured side by side."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue


def processes(jobs: int) -> ProcessPoolExecutor:
    """`jobs` processes, each (and whatever it starts) on cores of its own, where there are enough and the system says.

    The threads of two programs on the same cores wait for one another.
    """
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) < jobs:
        cores = []
    shares = context.SimpleQueue()
    for job in range(jobs):
        shares.put(cores[job::jobs])
    return ProcessPoolExecutor(jobs, context, _take, (shares,))


def _take(shares: SimpleQueue) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if cores := shares.get():
        os.sched_setaffinity(0, cores)


def _end_with_parent() -> None:
    """Nothing goes on measuring for a benchmark that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(1)  # sys.exit would end this thread alone
