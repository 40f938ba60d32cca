"""The edge of compiled environments: many copies of one gymnax-style environment, stepped inside one program."""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp

from operant.contracts import Array, Spec
from operant.environments.spaces import environment_action, gymnasium_space, learner_space
from operant.errors import OperantError
from operant.parts.encoders import canonical_dtype
from operant.workers.leaves import map_leaves

# Fresh starts are drawn in blocks: one block for each window, and for at least this many steps; one start for this
# many steps of each environment. Episodes that are on average shorter make the index wrap, and starts within one block
# repeat.
POOL_STEPS = 64
POOL_STEPS_PER_START = 8


class Worlds(NamedTuple):
    """The state of `num_envs` environments, with the pool of fresh starts that their resets consume."""

    state: Any  # [B, ...]
    pool: Any  # (observations, states) [starts, ...], or () where the environment resets by itself
    cursor: Array  # int32: how many of the pool were used


class Transition(NamedTuple):
    """What one step gave to each environment, `[B, ...]`."""

    reward: Array
    terminated: Array
    truncated: Array
    next_observation: Any  # before the reset
    observation: Any  # after the reset where the episode ended: what to act on next


class Compiled:
    """`num_envs` copies of a compiled environment behind pure, batched `reset`, `refresh` and `step`."""

    def __init__(self, environment: Any, params: Any = None, name: str | None = None):
        self.environment = environment
        self.params = params if params is not None else getattr(environment, "default_params", None)
        self.name = name or getattr(environment, "name", type(environment).__name__)
        self.observation_space: gymnasium.Space = gymnasium_space(environment.observation_space(self.params))
        self.action_space: gymnasium.Space = gymnasium_space(environment.action_space(self.params))
        limit = getattr(self.params, "max_steps_in_episode", None)
        self.time_limit = int(limit) if limit is not None else None
        self.pooled = _keeps_gymnax_step(environment)

    def spec(self, num_envs: int) -> Spec:
        """What an algorithm is told: actions in the learner's units."""
        return Spec(self.observation_space, learner_space(self.action_space), num_envs, self.time_limit)

    def reset(self, key: Array, num_envs: int, length: int = POOL_STEPS) -> tuple[Worlds, Any]:
        """`num_envs` fresh environments, for windows of `length` steps: `(worlds, observation [B, ...])`."""
        keys = jax.random.split(key, num_envs)
        observation, state = jax.vmap(lambda k: self.environment.reset(k, self.params))(keys)
        worlds = Worlds(_strong(state), (), jnp.int32(0))
        if self.pooled:
            count = num_envs * (max(length, POOL_STEPS) // POOL_STEPS_PER_START)
            worlds = worlds._replace(pool=self._starts(jax.random.fold_in(key, 1), count))
        return worlds, self._observed(observation)

    def refresh(self, key: Array, worlds: Worlds, iteration: Array, length: int) -> Worlds:
        """Draw a new pool, once every `POOL_STEPS` steps; to be called before each window of `length` steps."""
        if not self.pooled:
            return worlds
        count = jax.tree.leaves(worlds.pool)[0].shape[0]

        def draw() -> Worlds:
            return worlds._replace(pool=self._starts(key, count), cursor=jnp.int32(0))

        every = -(-POOL_STEPS // length)
        # The clock is never batched, so this is a branch even under vmap.
        return draw() if every == 1 else jax.lax.cond(iteration % every == 0, draw, lambda: worlds)

    def step(self, key: Array, worlds: Worlds, action: Any) -> tuple[Worlds, Transition]:
        """Step every environment with a learner's actions `[B, ...]`."""
        action = environment_action(self.action_space, action, jnp)
        keys = jax.random.split(key, jax.tree.leaves(action)[0].shape[0])
        if self.pooled:
            return self._step_pooled(keys, worlds, action)
        outcome = jax.vmap(lambda k, s, a: self.environment.step(k, s, a, self.params))(keys, worlds.state, action)
        if len(outcome) != 6 or "final_observation" not in outcome[5]:
            raise OperantError(
                f"{self.name}: step must return (observation, state, reward, terminated, truncated, info) "
                "with info['final_observation'] (gymnax 1.x), and reset by itself"
            )
        observation, state, reward, terminated, truncated, info = outcome
        ends = (jnp.asarray(terminated, bool), jnp.asarray(truncated, bool))
        final = self._observed(info["final_observation"])
        transition = Transition(jnp.float32(reward), *ends, final, self._observed(observation))
        return worlds._replace(state=_strong(state)), transition

    def _starts(self, key: Array, count: int) -> Any:
        return _strong(jax.vmap(lambda k: self.environment.reset_env(k, self.params))(jax.random.split(key, count)))

    def _step_pooled(self, keys: Array, worlds: Worlds, action: Any) -> tuple[Worlds, Transition]:
        environment, params = self.environment, self.params

        def one(key: Array, state: Any, action: Any) -> tuple:
            observation, state, reward, terminated, _ = environment.step_env(key, state, action, params)
            return observation, state, reward, terminated, environment.is_truncated(state, params)

        final, state, reward, terminated, truncated = jax.vmap(one)(keys, worlds.state, action)
        ended = terminated | truncated
        count = jax.tree.leaves(worlds.pool)[0].shape[0]
        # The k-th environment to end takes the k-th unused start.
        order = (worlds.cursor + jnp.cumsum(ended, dtype=jnp.int32) - 1) % count
        starts = jax.tree.map(lambda pool: pool[order], worlds.pool)
        final = self._observed(final)
        observation, state = _where(ended, (self._observed(starts[0]), starts[1]), (final, _strong(state)))
        worlds = worlds._replace(state=state, cursor=(worlds.cursor + jnp.sum(ended, dtype=jnp.int32)) % count)
        return worlds, Transition(jnp.float32(reward), terminated, truncated, final, observation)

    def _observed(self, observation: Any) -> Any:
        """Observations in the dtypes that their space promises."""
        cast = lambda space, leaf: jnp.asarray(leaf, canonical_dtype(space.dtype))  # noqa: E731
        return map_leaves(self.observation_space, cast, observation)


def _keeps_gymnax_step(environment: Any) -> bool:
    """Whether skipping `step` for `step_env` is safe: an unwrapped gymnax environment that did not override it."""
    from gymnax.environments.environment import Environment

    plain = isinstance(environment, Environment) and "step" not in vars(environment)
    return plain and type(environment).step is Environment.step


def _strong(tree: Any) -> Any:
    """Without weak types, which would make a second compilation of the same loop."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree)


def _where(condition: Array, new: Any, old: Any) -> Any:
    def choose(x: Array, y: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (y.ndim - 1)), x.astype(y.dtype), y)

    return jax.tree.map(choose, new, old)
