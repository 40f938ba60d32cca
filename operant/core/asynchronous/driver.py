"""The asynchronous driver: actors that learn at the same time, each on environments of its own.

One iteration is one window of one actor and the update that it makes. Between the chunks of the training loop every
actor rests, so that whatever is evaluated, saved or shown is whole. With one actor the windows follow one another as in
the other drivers, and are learned from with the same random numbers; with several, which update comes first depends on
the machine, and no run repeats another.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, Asynchronous, Ratio, Spec
from operant.core import keys, runtime
from operant.core.asynchronous.crews import Crew, Job, Processes, Threads
from operant.core.asynchronous.programs import Programs
from operant.core.asynchronous.sources import CompiledSource, HostSource
from operant.core.drivers.loop import severed
from operant.core.metrics import Health, add, cleared, well
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.environments.make import release
from operant.errors import OperantError
from operant.parts.component import check_fields, strong
from operant.workers.named import first_line


class AsynchronousCarry(NamedTuple):
    """What a checkpoint of such a run holds. A resumed run goes on with these, though not with the same bits unless it
    has one actor on a compiled environment; host environments start anew."""

    key: Array
    state: Any
    streams: tuple  # where each actor's environments are, of compiled ones
    updates: Array  # int32 [actors]: by each
    totals: dict[str, Ratio]
    health: Health


class AsynchronousDriver:
    """Trains one algorithm with `algorithm.num_actors` actors that share what they learn; one seed."""

    num_seeds = 1

    def __init__(
        self,
        algorithm: Asynchronous,
        environment: Compiled | Host,
        num_envs: int,
        construct: Callable[[], gymnasium.Env] | None = None,
        device: Any = None,
    ):
        """`num_envs` are shared out evenly among the actors.

        Of a compiled environment every thread has copies. Of Gymnasium's each process makes its own with `construct`
        (threads do where it cannot be sent to another process), and `environment` only tells what they are like;
        without `construct` it is the only one there is, for one actor. `device` is JAX's for threads.

        Raises `OperantError` where the algorithm cannot serve the environment or the shares are not equal.
        """
        count = algorithm.num_actors
        if isinstance(environment, Host) and construct is None and count > 1:
            raise OperantError(
                f"{count} actors need environments of their own beside {environment.name}: "
                "give a class, a factory or an id in place of an instance"
            )
        self.environment, self.num_envs, self.spec = environment, num_envs, _spec(environment, num_envs)
        check_fields(algorithm)
        algorithm.check(self.spec)
        self.members, self.algorithm = [algorithm], strong(algorithm)
        self._programs = programs = Programs(algorithm, self.spec)
        self.steps_per_iteration = programs.length * programs.spec.num_envs
        self.latest: tuple[AsynchronousCarry, int] | None = None
        self._cleared, self._running = jax.jit(cleared), False
        self._hosts: list[Host] = []  # of threads
        self._source: CompiledSource | None = None
        if isinstance(environment, Compiled):
            self._source = CompiledSource(environment, programs)
            self._crew: Crew = Threads(self.algorithm, programs, [self._source] * count, device)
            self.placing = f" in {count} thread{'s' * (count > 1)}"
        elif construct is not None:
            self._crew = self._crew_of(algorithm, construct, device)
        else:
            self._crew, self.placing = (
                Threads(self.algorithm, programs, [HostSource(environment, programs)], device),
                "",
            )

    def _crew_of(self, algorithm: Asynchronous, construct: Callable[[], gymnasium.Env], device: Any) -> Crew:
        """Actors in processes where that is possible, otherwise in threads."""
        count, programs = algorithm.num_actors, self._programs
        try:
            crew = Processes(algorithm, self.spec, programs, construct)
        except OperantError as error:
            for _ in range(count):
                self._hosts.append(Host([construct] * programs.spec.num_envs, self.environment.name))
            self.placing = f" in {count} threads, which take turns: {first_line(error)}" if count > 1 else ""
            return Threads(self.algorithm, programs, [HostSource(host, programs) for host in self._hosts], device)
        self.placing = f" in {count} process{'es' * (count > 1)}"
        return crew

    # The carry's life

    def start(self, seed: int) -> AsynchronousCarry:
        """The carry before the first iteration."""
        return jax.jit(self._init, compiler_options=runtime.once())(self.algorithm, keys.root(seed))

    def template(self) -> AsynchronousCarry:
        """Shapes and dtypes of the carry."""
        return jax.eval_shape(self._init, self.algorithm, keys.root(0))

    def advance(self, carry: AsynchronousCarry, iteration: int, count: int, total: int) -> AsynchronousCarry:
        """`count` iterations from absolute `iteration` of `total`, shared out as the actors come.

        Raises `OperantError` where an actor's environment does, or its process died; `latest` is what the others had
        learned by then. A run that diverged stays as it is.
        """
        if bool((np.asarray(carry.health.fault) >= 0).any()):
            return carry
        state = carry.state
        if self._source is None and not self._running:  # host environments start anew, whatever the carry comes from
            state, self._running = severed(state), True
        values, before = np.asarray(self._programs.flat(state)), np.asarray(carry.updates)
        job = Job(values, before.tolist(), carry.streams, carry.key, iteration, iteration + count, total)
        done = self._crew.work(job)
        made = int(done.updates.sum() - before.sum())
        sums = tuple(np.sum(half, axis=0) for half in zip(*(report.sums for report in done.reports), strict=True))
        stale = sum(report.staleness for report in done.reports)
        told = self._programs.totals(sums, Ratio(np.float32(stale), np.float32(made)))  # type: ignore[arg-type]
        streams = tuple(report.stream for report in done.reports) if self._source is not None else ()
        fault = np.stack([report.fault for report in done.reports])
        first = np.where(fault >= 0, fault, np.iinfo(np.int32).max).min(axis=0)
        carry = AsynchronousCarry(
            carry.key,
            self._programs.state(done.values),
            streams,
            jnp.asarray(done.updates, jnp.int32),
            add(carry.totals, told),
            Health(jnp.asarray(np.where((fault >= 0).any(axis=0), first, -1))),
        )
        if errors := [report.error for report in done.reports if report.error is not None]:
            self.latest = carry, iteration + made
            raise OperantError(errors[0])
        return carry

    def cleared(self, carry: AsynchronousCarry) -> AsynchronousCarry:
        """`carry` with its metrics at zero."""
        return carry._replace(totals=self._cleared(carry.totals))

    def policies(self, carry: AsynchronousCarry) -> Any:
        """A copy of the policy, with a leading axis of one as if it were one of several seeds."""
        return jax.tree.map(lambda leaf: jnp.copy(leaf)[None], carry.state.policy)

    def close(self) -> None:
        """End the actors' processes and close the environments."""
        self._crew.close()
        for host in self._hosts:
            host.close()
        release(self.environment)

    def _init(self, algorithm: Any, key: Array) -> AsynchronousCarry:
        state, source = algorithm.init(keys.role(key, keys.INIT), self.spec), self._source
        streams: tuple = ()
        if source is not None:
            each = [keys.actor(key, number) for number in range(algorithm.num_actors)]
            streams = tuple(source.start(algorithm, state.policy, one) for one in each)
        totals = {name: Ratio(jnp.float32(0), jnp.float32(0)) for name in self._programs.names}
        return AsynchronousCarry(key, state, streams, jnp.zeros(algorithm.num_actors, jnp.int32), totals, well())


def _spec(environment: Compiled | Host, num_envs: int) -> Spec:
    if isinstance(environment, Compiled):
        return environment.spec(num_envs)
    return dataclasses.replace(environment.spec(), num_envs=num_envs)
