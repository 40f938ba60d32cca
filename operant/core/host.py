"""The host driver: the same algorithm objects on a Gymnasium vector environment stepped in Python.

One jitted call acts for all environments, observations stay NumPy arrays until the window is handed over whole
to the jitted, donating `learn`. The state of a Gymnasium environment cannot be saved, so a resumed run continues
with fresh episodes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Algorithm, Array, Clock, Context, Episodes, Step, Window
from operant.core import keys
from operant.core.metrics import Health, Ratio, add, examine, well
from operant.environments.host import Host
from operant.errors import OperantError
from operant.parts.component import check_fields, strong
from operant.parts.encoders import example
from operant.parts.heads import restart


class HostCarry(NamedTuple):
    """What a checkpoint of a host run holds: everything but the environments and their running episodes."""

    key: Array
    state: Any
    totals: dict[str, Ratio]
    health: Health


class HostDriver:
    """Trains one algorithm on a Gymnasium vector environment, one seed."""

    resumable = False  # exactly: the environments start anew
    num_seeds = 1

    def __init__(self, algorithm: Algorithm, environment: Host):
        self.environment, self.num_envs = environment, environment.num_envs
        self.spec = environment.spec()
        check_fields(algorithm)
        algorithm.check(self.spec)
        self.members = [algorithm]
        self.algorithm: Any = strong(algorithm)
        window = algorithm.window()
        self.episodic = isinstance(window, Episodes)
        if self.episodic and self.spec.time_limit is None:
            raise OperantError(f"{environment.name} has no time limit, and whole episodes need one")
        self.length: int = self.spec.time_limit if self.episodic else window.length  # type: ignore[assignment]
        self.steps_per_iteration = self.length * self.num_envs
        self._keys = jax.jit(self._keys_of_window)
        self._act: tuple[Any, Any] | None = None  # the structure that it was compiled for, and the program
        self._learn = jax.jit(self._learn_and_examine, donate_argnums=1)
        self._world: _World | None = None
        self.latest: tuple[HostCarry, int]

    def start(self, seed: int) -> HostCarry:
        """The carry before the first iteration."""
        self._world = None
        carry = jax.jit(self._init)(self.algorithm, keys.root(seed))
        return jax.tree.map(jnp.copy, carry)

    def template(self) -> HostCarry:
        """Shapes and dtypes of the carry."""
        return jax.eval_shape(self._init, self.algorithm, keys.root(0))

    def cleared(self, carry: HostCarry) -> HostCarry:
        """`carry` with its metrics at zero."""
        return carry._replace(totals=jax.tree.map(jnp.zeros_like, carry.totals))

    def policies(self, carry: HostCarry) -> Any:
        """A copy of the policy, with a leading axis of one as if it were one of several seeds."""
        return jax.tree.map(lambda leaf: jnp.copy(leaf)[None], carry.state.policy)

    def advance(self, carry: HostCarry, iteration: int, count: int, total: int) -> HostCarry:
        """`count` iterations from absolute `iteration` of `total`; consumes `carry`."""
        for now in range(iteration, iteration + count):
            # What can still be saved if an environment raises in this window.
            self.latest = carry, now
            clock = Clock(np.int32(now), np.float32(min(now / total, 1.0)))
            if self._world is None or self.episodic:
                self._world = self._reset(carry, now)
            window, ratios = self._collect(carry, self._world, clock)
            carry = self._learn(self.algorithm, carry, window, ratios, clock)
        return carry

    def _init(self, algorithm: Any, key: Array) -> HostCarry:
        state = algorithm.init(keys.role(key, keys.INIT), self.spec)
        names = jax.eval_shape(lambda: algorithm.learn(state, self._example(algorithm, state), key, self._context())[1])
        names = [*names, "episode_return", "episode_length"]
        totals = {name: Ratio(jnp.float32(0), jnp.float32(0)) for name in names}
        return HostCarry(key, state, totals, well())

    def _context(self) -> Context:
        return Context(self.spec, Clock(jnp.int32(0), jnp.float32(0)))

    def _example(self, algorithm: Any, state: Any) -> Window:
        """A window of zeros in the right shapes."""

        def rows(tree: Any, *lead: int) -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), tree)

        envs, key = self.num_envs, keys.root(0)
        memory = algorithm.start(state.policy, key, self.spec)
        observation = rows(example(self.spec.observation_space), envs)
        _, action, extras = algorithm.act(state.policy, memory, observation, key, self._context(), explore=True)
        scalars = jnp.zeros(envs), jnp.zeros(envs, bool), jnp.zeros(envs, bool)
        steps = rows(Step(observation, action, *scalars, observation, extras), self.length)
        valid = jnp.zeros((self.length, envs), bool) if self.episodic else None
        return Window(steps, memory, jnp.arange(envs, dtype=jnp.int32), jnp.int32(0), valid)

    def _reset(self, carry: HostCarry, iteration: int) -> "_World":
        # Whole episodes start anew each iteration but draw on the environments' own generators, seeded once.
        first = self._world is None
        seed = int(jax.random.bits(keys.role(carry.key, keys.RESET, iteration)) >> 1) if first else None
        observation = self.environment.reset(seed)
        memory = self.algorithm.start(carry.state.policy, keys.role(carry.key, keys.START, iteration), self.spec)
        none = np.zeros(self.num_envs)
        return _World(observation, memory, none, none.astype(int), none.astype(bool))

    def _collect(self, carry: HostCarry, world: "_World", clock: Clock) -> tuple[Window, dict[str, Ratio]]:
        """One window of every environment; `world` moves on."""
        policy, memory, steps, valid = carry.state.policy, world.memory, [], []
        # What stays the same through the window is flattened and moved to the device once, not at every step.
        fixed, structure = jax.tree.flatten((self.algorithm, policy, clock, self._keys(carry.key, clock.iteration)))
        fixed, act = jax.device_put(fixed), self._acting(structure)
        if jax.tree.leaves(memory):
            now = keys.role(carry.key, keys.START, clock.iteration * self.length)
            fresh = self.algorithm.start(policy, now, self.spec)
            memory = restart(memory, fresh, jnp.asarray(world.last))
        begun, alive = memory, np.ones(self.num_envs, bool)
        count, returned, lasted = 0.0, 0.0, 0.0
        world.last = np.zeros(self.num_envs, bool)
        for t in range(self.length):
            memory, action, extras = act(fixed, memory, world.observation, world.last, np.int32(t))
            action = np.asarray(action)
            seen = self.environment.step(action)
            ends = seen.terminated, seen.truncated
            steps.append(Step(world.observation, action, seen.reward, *ends, seen.next_observation, extras))
            valid.append(alive)
            last = np.logical_or(*ends)
            world.returns, world.lengths = world.returns + seen.reward, world.lengths + 1
            ended = last & alive
            count += ended.sum()
            returned, lasted = returned + world.returns[ended].sum(), lasted + world.lengths[ended].sum()
            world.returns[last], world.lengths[last] = 0.0, 0
            world.observation, world.last = seen.observation, last
            if self.episodic:
                alive = alive & ~last
                if not alive.any():
                    break
        world.memory = memory
        padding = self.length - len(steps)
        steps += [jax.tree.map(np.zeros_like, steps[-1])] * padding
        valid += [np.zeros(self.num_envs, bool)] * padding
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
        slots = np.arange(self.num_envs, dtype=np.int32)
        window = Window(stacked, begun, slots, np.int32(0), np.stack(valid) if self.episodic else None)
        ratios = {"episode_return": (returned, count), "episode_length": (lasted, count)}
        return window, {name: Ratio(np.float32(a), np.float32(b)) for name, (a, b) in ratios.items()}

    def _acting(self, structure: Any) -> Any:
        """The jitted program that acts, for what `_collect` holds fixed; one, unless the structure changes."""
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

    def _keys_of_window(self, key: Array, iteration: Array) -> tuple[Array, Array]:
        """The keys of each step, `[T]`: to restart memory with, and to act with."""
        times = iteration * self.length + jnp.arange(self.length)
        starting, acting = (jax.vmap(lambda time, r=r: keys.role(key, r, time))(times) for r in (keys.START, keys.ACT))
        return starting, acting

    def _learn_and_examine(
        self, algorithm: Any, carry: HostCarry, window: Window, ratios: dict[str, Ratio], clock: Clock
    ) -> HostCarry:
        key, context = keys.role(carry.key, keys.LEARN, clock.iteration), Context(self.spec, clock)
        state, metrics = algorithm.learn(carry.state, window, key, context)
        health = examine(carry.health, clock.iteration, window, metrics, state.policy)
        policy = jax.tree.map(lambda good, new: jnp.where(health.bad, good, new), carry.state.policy, state.policy)
        return HostCarry(carry.key, state._replace(policy=policy), add(carry.totals, metrics | ratios), health)


class _World:
    """The environments' side of the loop: what cannot be saved."""

    def __init__(self, observation: Any, memory: Any, returns: np.ndarray, lengths: np.ndarray, last: np.ndarray):
        self.observation, self.memory = observation, memory
        self.returns, self.lengths, self.last = returns, lengths, last
