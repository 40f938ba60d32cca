"""Probe environments: each needs one part of an algorithm to work, and so points at the one that does not.

They have gymnax's methods without inheriting from it; `as_gymnasium` gives the same dynamics as a Gymnasium class.
"""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete


class Params(NamedTuple):
    max_steps_in_episode: int


class World(NamedTuple):
    time: jax.Array
    cue: jax.Array


class Probe:
    """`length` steps; subclasses say what is seen and what is paid."""

    length = 1
    truncates = False

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def default_params(self) -> Params:
        return Params(self.length)

    def observation_space(self, params: Any) -> Box:
        return Box(-1.0, 1.0, (1,), np.float32)

    def action_space(self, params: Any) -> Any:
        return Discrete(2)

    def observe(self, world: World) -> jax.Array:
        return jnp.zeros(1)

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        return jnp.float32(1.0)

    def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, World]:
        cue = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        world = World(jnp.int32(0), cue)
        return self.observe(world), world

    def step(self, key: jax.Array, world: World, action: jax.Array, params: Any = None) -> tuple:
        reward = self.pay(world, action)
        world = World(world.time + 1, world.cue)
        ended = world.time >= self.length
        final = self.observe(world)
        fresh_observation, fresh = self.reset(key, params)
        choose = lambda new, old: jnp.where(ended, new, old)  # noqa: E731
        observation, world = jax.tree.map(choose, (fresh_observation, fresh), (final, world))
        ends = (False, ended) if self.truncates else (ended, False)
        return observation, world, reward, *map(jnp.bool_, ends), {"final_observation": final}


class ValueOnly(Probe):
    """One step, always paid 1: v = 1. Fails if values are not learned at all."""


class Discounting(Probe):
    """Nothing, then 1: v(first) = discount, v(second) = 1. Fails if bootstrapping or discounting is wrong."""

    length = 2

    def observe(self, world: World) -> jax.Array:
        return jnp.float32(world.time)[None]

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        return jnp.float32(world.time)


class ActionOnly(Probe):
    """Paid +1 for action 1 and -1 for action 0. Fails if advantages do not move the policy."""

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        return jnp.where(action == 1, 1.0, -1.0)


class ObservationAction(Probe):
    """Paid +1 where the action names the cue that is seen. Fails if observation and action are mixed up in a batch."""

    def observe(self, world: World) -> jax.Array:
        return world.cue[None]

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        return jnp.where((action == 1) == (world.cue > 0), 1.0, -1.0)


class ContinuousAction(Probe):
    """Paid minus the squared distance of a continuous action from the cue's half; bounds are [-2, 2]."""

    def action_space(self, params: Any) -> Box:
        return Box(-2.0, 2.0, (1,), np.float32)

    def observe(self, world: World) -> jax.Array:
        return world.cue[None]

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        return -jnp.square(action[0] - world.cue)


class Truncation(Probe):
    """Paid 1 for ever, cut after 5 steps by the time limit: v = 1 / (1 - discount). A cut is no death."""

    length = 5
    truncates = True


class Memory(Probe):
    """The cue is seen in the first of three steps and must be named in the last. Needs a memory."""

    length = 3

    def observe(self, world: World) -> jax.Array:
        return jnp.where(world.time == 0, world.cue, 0.0)[None]

    def pay(self, world: World, action: jax.Array) -> jax.Array:
        right = jnp.where((action == 1) == (world.cue > 0), 1.0, -1.0)
        return jnp.where(world.time == 2, right, 0.0)


def as_gymnasium(probe: type[Probe]) -> type[gymnasium.Env]:
    """The same dynamics as a Gymnasium environment, which does not reset by itself."""

    class Twin(gymnasium.Env):
        def __init__(self) -> None:
            self.inner = probe()
            self.observation_space = self.inner.observation_space(None)
            self.action_space = self.inner.action_space(None)
            self.spec = gymnasium.envs.registration.EnvSpec(probe.__name__ + "-v0", max_episode_steps=probe.length)
            self._reset, self._step = jax.jit(self.inner.reset), jax.jit(self.inner.step)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
            super().reset(seed=seed)
            observation, self.world = self._reset(self._key())
            return np.asarray(observation), {}

        def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
            _, self.world, reward, terminated, truncated, info = self._step(self._key(), self.world, action)
            return np.asarray(info["final_observation"]), float(reward), bool(terminated), bool(truncated), {}

        def _key(self) -> jax.Array:
            return jax.random.key(int(self.np_random.integers(2**31)))

    Twin.__name__ = probe.__name__
    return Twin
