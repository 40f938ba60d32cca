"""The learner's side of a loop in Python: it opens windows, acts, gathers what followed, and learns.

Whoever runs the loop steps the environments: the host driver, or users in a loop of their own (`operant.Learner`).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Algorithm, Array, Clock, Context, Episodes, Online, Ratio, Spec, Step, Steps, Window
from operant.core import keys, runtime
from operant.core.metrics import Health, add, cleared, examine, well
from operant.core.rollout import Rollout
from operant.errors import OperantError
from operant.parts.component import check_fields, strong
from operant.parts.encoders import example
from operant.parts.masks import stuck


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
        self._learn = jax.jit(self._learn_and_examine, donate_argnums=1)
        self._cleared = jax.jit(cleared)

    def start(self, seed: int) -> HostCarry:
        """The carry before the first iteration."""
        self.rollout.reset()
        carry = jax.jit(self._init, compiler_options=runtime.once())(self.algorithm, keys.root(seed))
        # Each leaf in a buffer of its own, as donation requires.
        return jax.device_put(carry, jax.local_devices()[0], may_alias=False)

    def template(self) -> HostCarry:
        """Shapes and dtypes of the carry."""
        return jax.eval_shape(self._init, self.algorithm, keys.root(0))

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
        names = jax.eval_shape(lambda: algorithm.learn(state, window(), key, context)[1])
        names = [*names, "episode_return", "episode_length"]
        totals = {name: Ratio(jnp.float32(0), jnp.float32(0)) for name in names}
        return HostCarry(key, state, totals, well())

    def _learn_and_examine(
        self, algorithm: Any, carry: HostCarry, window: Window, ratios: dict[str, Ratio], clock: Clock
    ) -> HostCarry:
        key, context = keys.role(carry.key, keys.LEARN, clock.iteration), Context(self.spec, clock)
        state, metrics = algorithm.learn(carry.state, window, key, context)
        observed, rewards = window.steps.next_observation, window.steps.reward
        blocked = stuck(self.spec, window)
        health = examine(carry.health, clock.iteration, observed, rewards, metrics, state.policy, blocked)
        policy = jax.tree.map(lambda good, new: jnp.where(health.bad, good, new), carry.state.policy, state.policy)
        return HostCarry(carry.key, state._replace(policy=policy), add(carry.totals, metrics | ratios), health)


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
