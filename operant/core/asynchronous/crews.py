"""Where actors live: in threads of this process, or in processes of their own.

Threads serve compiled environments, whose programs release the interpreter lock. An environment written in Python holds
it, so that threads would take turns; each actor then has a process, with JAX for its own forward and backward passes.
The driver sees only `Crew`.
"""

import contextlib
import dataclasses
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from operant.contracts import Array, Asynchronous, Spec
from operant.core import runtime
from operant.core.asynchronous.actors import Actor, Report
from operant.core.asynchronous.programs import Programs
from operant.core.asynchronous.shared import Shared
from operant.core.asynchronous.sources import HostSource, Source
from operant.core.metrics import well
from operant.environments.host import Host
from operant.errors import OperantError
from operant.parts.component import strong
from operant.workers.named import Named
from operant.workers.spawning import CONTEXT, GONE, GRACE, attempt, dumped, end, spawn, started


class Job(NamedTuple):
    """What a crew is to do: collect the windows `first` to `end` - 1 of `total`, and learn from them."""

    values: np.ndarray  # what is learned so far, as one vector
    updates: Sequence[int]  # by each actor
    streams: tuple  # where the environments of each actor are, () where that cannot be told
    root: Array  # the run's key
    first: int
    end: int
    total: int


class Done(NamedTuple):
    """What became of it. With an error in a report, some of the windows are missing."""

    values: np.ndarray
    updates: np.ndarray
    reports: list[Report]


class Crew(Protocol):
    """The actors, wherever they are."""

    def work(self, job: Job) -> Done:
        """Do it; every actor rests again when this returns."""
        ...

    def close(self) -> None:
        """Give up what the crew holds: it does not work again."""
        ...


class Threads:
    """One thread an actor."""

    def __init__(self, algorithm: Any, programs: Programs, sources: Sequence[Source], device: Any = None):
        """`device` is JAX's for all of them, None for its default."""
        self._actors = [Actor(algorithm, programs, source, number) for number, source in enumerate(sources)]
        buffer = bytearray(Shared.size(programs.size, len(sources)))
        self._shared, self._device = Shared(buffer, threading.Lock(), len(sources)), device

    def work(self, job: Job) -> Done:
        self._shared.publish(job.values, job.updates, job.first, job.end)
        reports: list[Any] = [None] * len(self._actors)

        def run(actor: Actor) -> None:
            try:
                with jax.default_device(self._device):
                    reports[actor.number] = actor.work(self._shared, job.root, job.total)
            except BaseException as error:
                self._shared.halt()
                reports[actor.number] = error

        threads = [threading.Thread(target=run, args=(actor,), daemon=True) for actor in self._actors]
        for actor, stream in zip(self._actors, job.streams or [()] * len(threads), strict=True):
            actor.stream = stream
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._shared.halt()
        for report in reports:
            if not isinstance(report, Report):
                raise report
        return Done(self._shared.read()[0], self._shared.updates, reports)

    def close(self) -> None:
        pass


class Processes:
    """One spawned process an actor; what they learn is in memory that they share, and nobody copies it to them.

    Raises `OperantError` where environment or algorithm cannot be sent to another process, or made there.
    """

    def __init__(self, algorithm: Asynchronous, spec: Spec, programs: Programs, construct: Callable[[], gymnasium.Env]):
        """`spec` is of the environments of all actors together."""
        count = algorithm.num_actors
        memory = CONTEXT.RawArray("b", Shared.size(programs.size, count))
        lock, self._programs = CONTEXT.Lock(), programs
        self._shared = Shared(memory, lock, count)
        self._pipes: list[Connection] = []
        self._workers: list[Any] = []
        self._end = weakref.finalize(self, end, self._pipes, self._workers)
        recipe = dumped((algorithm, construct, spec.num_envs))
        try:
            spawn(serve, [(number, memory, lock) for number in range(count)], self._pipes, self._workers)
            for pipe in self._pipes:
                pipe.send_bytes(recipe)
            self._answers(fail=True)
        except BaseException:
            self._end()
            raise

    def work(self, job: Job) -> Done:
        self._shared.publish(job.values, job.updates, job.first, job.end)
        try:
            for pipe in self._pipes:
                with contextlib.suppress(*GONE):  # told when its answer is missing
                    pipe.send((np.asarray(jax.random.key_data(job.root)), job.total))
            reports = self._answers()
        finally:
            self._shared.halt()
        return Done(self._shared.read()[0], self._shared.updates, reports)

    def close(self) -> None:
        self._end()

    def _answers(self, fail: bool = False) -> list[Report]:
        """A report of every actor; one that died says so, and lets the others finish their windows."""
        reports: dict[int, Any] = {}
        while waiting := [pipe for number, pipe in enumerate(self._pipes) if number not in reports]:
            for pipe in wait(waiting):
                number = self._pipes.index(pipe)  # type: ignore[arg-type]
                try:
                    reports[number] = pipe.recv()  # type: ignore[union-attr]
                except GONE:
                    self._shared.halt()
                    self._workers[number].join(GRACE)
                    code = self._workers[number].exitcode
                    reports[number] = f"the process of actor {number} ended by itself (exit code {code})"
        told = [reports[number] for number in range(len(self._pipes))]
        if fail and (errors := [each for each in told if isinstance(each, str)]):
            raise OperantError(errors[0])
        return [each if isinstance(each, Report) else self._lost(each) for each in told]

    def _lost(self, error: str | None) -> Report:
        return Report(self._programs.fresh(), 0, np.asarray(well().fault), (), error)


def serve(pipe: Connection, number: int, memory: Any, lock: Any) -> None:
    """The life of an actor's process: a recipe, then one job after another until the other end of the pipe is gone."""
    started()
    # The processor's cores are the actors'; an accelerator is the learner's.
    jax.config.update("jax_platforms", "cpu")
    runtime.prepare()
    made: list[Host] = []

    def begin() -> tuple[Actor, Shared]:
        algorithm, construct, num_envs = pipe.recv()
        share = num_envs // algorithm.num_actors
        indices = range(number * share, (number + 1) * share)
        factories = [partial(_named, construct, index) for index in indices]
        made.append(Host(SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP, copy=False)))
        programs = Programs(algorithm, dataclasses.replace(made[0].spec(), num_envs=num_envs))
        algorithm, source = strong(algorithm), HostSource(made[0], programs)
        source.rehearse(algorithm)
        actor = Actor(algorithm, programs, source, number)
        actor.rehearse()
        return actor, Shared(memory, lock, algorithm.num_actors)

    def serve_jobs() -> None:
        good, begun = attempt(begin)
        pipe.send(None if good else begun)
        while good:
            root, total = pipe.recv()
            key = jax.random.wrap_key_data(root, impl="threefry2x32")
            # Nothing is sent during a job: what there is to read then is the end of the pipe.
            pipe.send(attempt(begun[0].work, begun[1], key, total, pipe.poll)[1])

    with contextlib.suppress(*GONE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the learner's process made one environment too, and has said them
        serve_jobs()
    for host in made:
        host.close()


def _named(construct: Callable[[], gymnasium.Env], index: int) -> gymnasium.Env:
    return Named(construct(), index)
