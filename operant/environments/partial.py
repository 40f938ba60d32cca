"""Environments of which only a part is seen, so that acting well takes a memory."""

from typing import Any

import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole
from jax import Array


class CartPolePositions(CartPole):
    """CartPole-v1 with its velocities hidden: what is seen is the cart's position and the pole's angle, `[2]`."""

    @property
    def name(self) -> str:
        return "CartPolePositions-v1"

    def get_obs(self, state: Any, params: Any = None, key: Any = None) -> Array:
        return jnp.array([state.x, state.theta])

    def observation_space(self, params: Any) -> spaces.Box:
        bound = 2 * jnp.array([params.x_threshold, params.theta_threshold_radians])
        return spaces.Box(-bound, bound, (2,), dtype=jnp.float32)
