"""Where an actor's windows come from: copies of a compiled environment, or a Gymnasium vector environment."""

from typing import Any, Protocol

import jax
import numpy as np

from operant.contracts import Array, Clock, Context
from operant.core import keys
from operant.core.asynchronous.programs import Programs
from operant.core.drivers.collecting import Carry, Collector
from operant.core.drivers.rollout import Rollout, fill
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.parts.encoders import example


class Source(Protocol):
    """An actor's environments."""

    def window(self, algorithm: Any, values: np.ndarray, stream: Any, key: Array, clock: Clock) -> tuple:
        """`(stream, window, ratios)`: the window of the clock's iteration, collected by the policy in `values`.

        `stream` is where the actor's environments are, `()` where that cannot be told; `ratios` are of the episodes
        that ended.
        """
        ...


class CompiledSource:
    """Copies of a compiled environment; a window is one program, the same for all actors."""

    def __init__(self, environment: Compiled, programs: Programs):
        self._programs = programs
        self._collector = Collector(environment, programs.spec, programs.length)
        self.window = jax.jit(self._window)

    def start(self, algorithm: Any, policy: Any, key: Array) -> Carry:
        """Where the environments are before the first window of an actor with `key`."""
        return self._collector.begin(algorithm, policy, key)

    def _window(self, algorithm: Any, values: Array, stream: Carry, key: Array, clock: Clock) -> tuple:
        carry = stream._replace(state=self._programs.state(values))
        carry, window, ratios = self._collector.steps(algorithm, carry, Context(self._programs.spec, clock))
        return carry._replace(state=()), window, ratios


class HostSource:
    """A Gymnasium vector environment of one actor, stepped in Python."""

    def __init__(self, environment: Host, programs: Programs):
        self._environment, self._programs = environment, programs
        self._rollout = Rollout(programs.spec, programs.length, False)
        self._observation: Any = None

    def rehearse(self, algorithm: Any) -> None:
        """Compile what acts; no environment is touched."""
        space, programs = self._environment.observation_space, self._programs
        lead = programs.spec.num_envs
        observation = jax.tree.map(lambda leaf: np.zeros((lead, *leaf.shape), leaf.dtype), example(space))
        policy = programs.policy(np.zeros(programs.size, np.float32))
        self._rollout.open(algorithm, policy, keys.root(0), Clock(np.int32(0), np.float32(0)))
        self._rollout.act(observation)
        self._rollout.reset()

    def window(self, algorithm: Any, values: np.ndarray, stream: Any, key: Array, clock: Clock) -> tuple:
        if self._observation is None:
            seed = int(jax.random.bits(keys.role(key, keys.RESET, clock.iteration)) >> 1)
            self._observation = self._environment.reset(seed)
        self._rollout.open(algorithm, self._programs.policy(values), key, clock)
        self._observation = fill(self._rollout, self._environment, self._observation)
        return stream, *self._rollout.close()
