"""How `peers.py` talks to a worker: one JSON object a line, over standard input and output.

    {"prepare": {settings}}  ->  {"compile_seconds": 2.1, "versions": {"jax": "0.10.2"}}
    {"run": 3}               ->  {"steps": 131072, "seconds": 0.94}      (3 is the repetition's seed)

Where the settings say `"apart": true`, the seconds in which environments were stepped are left out.

Anything a library prints goes to standard error, so that it cannot be mistaken for an answer. The end of the
input ends the worker. Standard library only: this file runs in every peer's own environment.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Repetition = Callable[[], int]  # what is timed; returns the environment steps that were made
Run = Callable[[int], Repetition]  # makes what a new seed needs, outside the time
Build = Callable[[dict[str, Any]], tuple[float, Run]]  # settings -> (seconds of compilation, the run)


class Apart:
    """Adds up the seconds that calls take, to leave them out."""

    seconds = 0.0

    def watch(self, owner: Any, name: str) -> None:
        """Measure every call of `owner.name` from now on."""
        function = getattr(owner, name)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)


apart = Apart()


def serve(build: Build, packages: tuple[str, ...]) -> None:
    """Answer requests until the input ends. `packages`: whose versions belong in the report."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    run: Run | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                compile_seconds, run = build(request["prepare"])
                versions = {name: importlib.metadata.version(name) for name in packages}
                answer = {"compile_seconds": compile_seconds, "versions": versions}
            else:
                assert run is not None, "run before prepare"
                repetition = run(request["run"])
                apart.seconds, start = 0.0, time.perf_counter()
                steps = repetition()
                answer = {"steps": steps, "seconds": time.perf_counter() - start - apart.seconds}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
