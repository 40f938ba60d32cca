"""The learner's side of a loop in Python: it opens windows, acts, gathers what followed, and learns.

Whoever runs the loop steps the environments: the host driver, or users in a loop of their own (`operant.Learner`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import (
    Algorithm,
    Array,
    Clock,
    Context,
    Divisible,
    Episodes,
    Online,
    Ratio,
    Spec,
    Step,
    Steps,
    Window,
)
from operant.core import keys, runtime
from operant.core.drivers.rollout import Rollout
from operant.core.metrics import Health, add, cleared, examine, well
from operant.errors import OperantError
from operant.parts.component import check_fields, strong
from operant.parts.encoders import example
from operant.parts.masks import stuck
from operant.parts.replay.host_memory import laid_out


class HostCarry(NamedTuple):
    """What a checkpoint of such a run holds: everything but the environments and their running episodes."""

    key: Array
    state: Any
    totals: dict[str, Ratio]
    health: Health


class Loop:
    """One algorithm, one seed; `rollout` acts and observes between `open` and `learn`."""

    num_seeds = 1

    def __init__(self, algorithm: Algorithm, spec: Spec, name: str):
        """Raises `OperantError` where the algorithm cannot serve `spec`, of the environment called `name`."""
        self.spec, self.num_envs = spec, spec.num_envs
        check_fields(algorithm)
        algorithm.check(spec)
        self.members = [algorithm]
        self.algorithm: Any = strong(algorithm)
        window = algorithm.window()
        if isinstance(window, Online):
            window = Steps(1)  # acting waits for every update anyway
        self.episodic = isinstance(window, Episodes)
        if self.episodic and spec.time_limit is None:
            raise OperantError(
                f"{name} has no time limit, and whole episodes need one: env_kwargs max_episode_steps=100, for example"
            )
        self.length: int = spec.time_limit if self.episodic else window.length  # type: ignore[assignment]
        self.steps_per_iteration = self.length * self.num_envs
        self.rollout = Rollout(spec, self.length, self.episodic)
        parts = algorithm.in_parts(spec) if isinstance(algorithm, Divisible) else None
        # One program, unless one cannot hold the state: then those of the parts, and these two.
        self._key, self._examine = jax.jit(self._key_of_learning, inline=True), jax.jit(self._examined, inline=True)
        whole = jax.jit(partial(self._iterate, self._learn_whole), donate_argnums=1)
        self._learn: Callable[..., HostCarry] = whole if parts is None else partial(self._iterate, parts)
        self._cleared = jax.jit(cleared)

    def start(self, seed: int) -> HostCarry:
        """The carry before the first iteration."""
        self.rollout.reset()
        carry = jax.jit(self._init, compiler_options=runtime.once())(self.algorithm, keys.root(seed))
        # Each leaf in a buffer of its own, as donation requires.
        return laid_out(jax.device_put(carry, jax.local_devices()[0], may_alias=False))

    def template(self) -> HostCarry:
        """Shapes and dtypes of the carry."""
        return laid_out(jax.eval_shape(self._init, self.algorithm, keys.root(0)))

    def cleared(self, carry: HostCarry) -> HostCarry:
        """`carry` with its metrics at zero."""
        return carry._replace(totals=self._cleared(carry.totals))

    def policies(self, carry: HostCarry) -> Any:
        """A copy of the policy, with a leading axis of one as if it were one of several seeds."""
        return jax.tree.map(lambda leaf: jnp.copy(leaf)[None], carry.state.policy)

    def reset_seed(self, carry: HostCarry, iteration: int) -> int:
        """What environments are seeded with that are made at `iteration`."""
        return int(jax.random.bits(keys.role(carry.key, keys.RESET, iteration)) >> 1)

    def open(self, carry: HostCarry, iteration: int, total: int) -> None:
        """Begin the window of absolute `iteration` of `total`."""
        self._clock = Clock(np.int32(iteration), np.float32(min(iteration / total, 1.0)))
        self.rollout.open(self.algorithm, carry.state.policy, carry.key, self._clock)

    def learn(self, carry: HostCarry) -> HostCarry:
        """One iteration from the window that is full; consumes `carry`."""
        if self.rollout.severed:
            carry = carry._replace(state=severed(carry.state))
        window, ratios = self.rollout.close()
        return self._learn(self.algorithm, carry, window, ratios, self._clock)

    def _init(self, algorithm: Any, key: Array) -> HostCarry:
        state = algorithm.init(keys.role(key, keys.INIT), self.spec)
        window, context = (
            partial(example_window, algorithm, state, self.spec, self.length, self.episodic),
            _begun(self.spec),
        )
        names = jax.eval_shape(lambda: algorithm.learn(laid_out(state, jnp), window(), key, context)[1])
        names = [*names, "episode_return", "episode_length"]
        totals = {name: Ratio(jnp.float32(0), jnp.float32(0)) for name in names}
        return HostCarry(key, state, totals, well())

    def _iterate(
        self,
        learn: Callable[..., tuple[Any, dict]],
        algorithm: Any,
        carry: HostCarry,
        window: Window,
        ratios: dict[str, Ratio],
        clock: Clock,
    ) -> HostCarry:
        key, before = self._key(carry.key, clock), (carry.state.policy, carry.totals, carry.health)
        state, metrics = learn(algorithm, carry.state, window, key, clock)
        policy, totals, health = self._examine(before, state.policy, window, metrics, ratios, clock)
        return HostCarry(carry.key, state._replace(policy=policy), totals, health)

    def _learn_whole(self, algorithm: Any, state: Any, window: Window, key: Array, clock: Clock) -> tuple[Any, dict]:
        return algorithm.learn(state, window, key, Context(self.spec, clock))

    def _key_of_learning(self, key: Array, clock: Clock) -> Array:
        return keys.role(key, keys.LEARN, clock.iteration)

    def _examined(
        self, before: tuple, policy: Any, window: Window, metrics: dict, ratios: dict[str, Ratio], clock: Clock
    ) -> tuple[Any, dict[str, Ratio], Health]:
        """Policy, totals and health after an iteration that made this `policy`, of those before it."""
        good, totals, health = before
        observed, rewards, blocked = window.steps.next_observation, window.steps.reward, stuck(self.spec, window)
        health = examine(health, clock.iteration, observed, rewards, metrics, policy, blocked)
        policy = jax.tree.map(lambda good, new: jnp.where(health.bad, good, new), good, policy)
        return policy, add(totals, metrics | ratios), health


def example_window(algorithm: Any, state: Any, spec: Spec, length: int, episodic: bool = False) -> Window:
    """A window of zeros in the right shapes."""

    def rows(tree: Any, *lead: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), tree)

    envs, key = spec.num_envs, keys.root(0)
    memory = algorithm.start(state.policy, key, spec)
    observation = rows(example(spec.observation_space), envs)
    _, action, extras = algorithm.act(state.policy, memory, observation, key, _begun(spec), explore=True)
    scalars = jnp.zeros(envs), jnp.zeros(envs, bool), jnp.zeros(envs, bool)
    steps = rows(Step(observation, action, *scalars, observation, extras), length)
    valid = jnp.zeros((length, envs), bool) if episodic else None
    return Window(steps, memory, jnp.arange(envs, dtype=jnp.int32), jnp.int32(0), valid)


def _begun(spec: Spec) -> Context:
    return Context(spec, Clock(jnp.int32(0), jnp.float32(0)))


def severed(state: Any) -> Any:
    """`state` at the start of an episode in every stream."""
    carried = getattr(state, "carried", ())
    return state._replace(carried=jax.tree.map(jnp.zeros_like, carried)) if jax.tree.leaves(carried) else state
