"""Windows of experience from a loop in Python, one step of every environment at a time.

The loop may be the host driver's or the user's own: both are the same windows, keys and memories.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, Clock, Context, Ratio, Spec, Step, Window
from operant.core import keys
from operant.parts.networks.heads import restart


def fill(rollout: "Rollout", environment: Any, observation: Any) -> Any:
    """Step a host environment from `observation` until the window is full; the observation to act on next."""
    while not rollout.full:
        seen = environment.step(rollout.act(observation))
        rollout.observe(seen.reward, seen.terminated, seen.truncated, seen.next_observation)
        observation = seen.observation
    return observation


class Rollout:
    """Gathers windows of `length` steps, or of whole episodes of at most `length` steps.

    A window is opened, then `act` and `observe` alternate until it is `full`, and `close` hands it over. Episodes
    run on from one window to the next; after `reset` every environment is at the start of one. `severed` tells that
    the window continues nothing that was learned from before it.
    """

    def __init__(self, spec: Spec, length: int, episodic: bool):
        self.spec, self.length, self.episodic = spec, length, episodic
        self._keys = jax.jit(self._keys_of_window)
        self._act: tuple[Any, Any] | None = None  # the structure that it was compiled for, and the program
        self._memory: Any = None
        self._steps: list[Step] = []
        self.reset()

    def reset(self) -> None:
        """Every environment is at the start of an episode; one that was running was cut, and is not counted."""
        count = self.spec.num_envs
        self.fresh = np.ones(count, bool)  # where the observation to come is an episode's first
        self._returns, self._lengths = np.zeros(count), np.zeros(count, int)
        if self._steps:
            last = self._steps[-1]
            self._steps[-1] = last._replace(truncated=last.truncated | ~last.terminated)
            self._alive = self._alive & ~self.episodic
        else:
            # The steps before were learned from already: nothing in a window can say that their episodes were cut.
            self.severed = True

    def open(self, algorithm: Any, policy: Any, key: Array, clock: Clock) -> None:
        """Begin a window: `policy` acts in it, with the keys of the clock's iteration."""
        # What stays the same through the window is on the device and flattened once, not at every step.
        self._fixed, structure = jax.tree.flatten((algorithm, policy, *self._keys(key, clock)))
        self._program = self._acting(structure)
        if self._memory is None or jax.tree.leaves(self._memory):
            begun = algorithm.start(policy, keys.role(key, keys.START, clock.iteration * self.length), self.spec)
            self._memory = begun if self._memory is None else restart(self._memory, begun, jnp.asarray(self.fresh))
        self._begun, self._alive = self._memory, np.ones(self.spec.num_envs, bool)
        self._valid: list[np.ndarray] = []
        self._count = self._returned = self._lasted = 0.0
        self.fresh = np.zeros(self.spec.num_envs, bool)

    def act(self, observation: Any) -> np.ndarray:
        """The learner's actions `[B, ...]` for observations `[B, ...]`, exploring."""
        now = np.int32(len(self._steps))
        self._memory, action, extras = self._program(self._fixed, self._memory, observation, self.fresh, now)
        self._acted = observation, np.asarray(action), extras
        return self._acted[1]

    def observe(self, reward: Array, terminated: Array, truncated: Array, next_observation: Any) -> None:
        """What followed the last action, `[B, ...]`; `next_observation` is the one before any reset."""
        observation, action, extras = self._acted
        self._steps.append(Step(observation, action, reward, terminated, truncated, next_observation, extras))
        self._valid.append(self._alive)
        self._returns, self._lengths = self._returns + reward, self._lengths + 1
        self.fresh = last = np.logical_or(terminated, truncated)
        ended = last & self._alive
        self._count += ended.sum()
        self._returned += self._returns[ended].sum()
        self._lasted += self._lengths[ended].sum()
        self._returns[last], self._lengths[last] = 0.0, 0
        if self.episodic:
            self._alive = self._alive & ~last

    @property
    def full(self) -> bool:
        """Whether the window needs no further step."""
        return len(self._steps) == self.length or (self.episodic and not self._alive.any())

    def close(self) -> tuple[Window, dict[str, Ratio]]:
        """The window, and the sums and counts of the episodes that ended in it."""
        (steps, self._steps), valid = (self._steps, []), self._valid
        self.severed = False
        padding = self.length - len(steps)
        steps += [jax.tree.map(np.zeros_like, steps[-1])] * padding
        valid += [np.zeros(self.spec.num_envs, bool)] * padding
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
        slots = np.arange(self.spec.num_envs, dtype=np.int32)
        window = Window(stacked, self._begun, slots, np.int32(0), np.stack(valid) if self.episodic else None)
        ratios = {"episode_return": (self._returned, self._count), "episode_length": (self._lasted, self._count)}
        return window, {name: Ratio(np.float32(a), np.float32(b)) for name, (a, b) in ratios.items()}

    def _acting(self, structure: Any) -> Callable[..., tuple[Any, Any, Any]]:
        """The jitted program that acts, for what `open` holds fixed; one, unless the structure changes."""
        if self._act is not None and self._act[0] == structure:
            return self._act[1]

        @jax.jit
        def act(fixed: list, memory: Any, observation: Any, last: Array, t: Array) -> tuple[Any, Any, Any]:
            algorithm, policy, clock, (starting, acting) = jax.tree.unflatten(structure, fixed)
            if jax.tree.leaves(memory):
                memory = restart(memory, algorithm.start(policy, starting[t], self.spec), last)
            context = Context(self.spec, clock)
            return algorithm.act(policy, memory, observation, acting[t], context, explore=True)

        self._act = structure, act
        return act

    def _keys_of_window(self, key: Array, clock: Clock) -> tuple[Clock, tuple[Array, Array]]:
        """The clock, on the device, and the keys of each step, `[T]`: to restart memory with, and to act with."""
        times = clock.iteration * self.length + jnp.arange(self.length)
        starting, acting = (jax.vmap(lambda time, r=r: keys.role(key, r, time))(times) for r in (keys.START, keys.ACT))
        return clock, (starting, acting)
