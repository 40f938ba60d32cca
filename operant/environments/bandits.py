"""The k-armed testbed: bandits as a world of one state, in which every pull is an episode."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.spaces import Discrete
from jax import Array


class Arms(NamedTuple):
    """The parameters of a `BanditTestbed`."""

    problem: int | None = 0  # the arms' seed; None draws new arms at every reset, each training seed its own
    mean: float = 0.0
    spread: float = 1.0  # standard deviation of the arms' values around `mean`
    walk: float = 0.0  # standard deviation of the step that every value takes after each pull
    max_steps_in_episode: int = 1


STANDARD = Arms()


class BanditTestbed:
    """Arm values are N(mean, spread²), rewards N(value, 1) (Sutton & Barto 2018, section 2.3; walking: exercise 2.5).

    A compiled environment. Its state, the arms' values float32 `[k]`, outlives the episodes: after a pull the same
    arms stand there again.
    """

    name = "k-armed-bandit"

    def __init__(self, num_arms: int = 10):
        self.num_arms = num_arms

    @property
    def default_params(self) -> Arms:
        return STANDARD

    def observation_space(self, params: Any) -> Discrete:
        return Discrete(1)

    def action_space(self, params: Any) -> Discrete:
        return Discrete(self.num_arms)

    def reset(self, key: Array, params: Arms = STANDARD) -> tuple[Array, Array]:
        if params.problem is not None:
            key = jax.random.key(params.problem, impl="threefry2x32")
        return jnp.int32(0), params.mean + params.spread * jax.random.normal(key, (self.num_arms,))

    def step(self, key: Array, values: Array, action: Array, params: Arms = STANDARD) -> tuple:
        key_reward, key_walk = jax.random.split(key)
        reward = values[action] + jax.random.normal(key_reward)
        if params.walk:
            values = values + params.walk * jax.random.normal(key_walk, values.shape)
        here = jnp.int32(0)
        return here, values, reward, jnp.bool_(True), jnp.bool_(False), {"final_observation": here}
