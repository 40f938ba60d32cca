"""Exploration rules: from action values to an action, with parameters that may follow a schedule."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from operant.parts.component import component
from operant.parts.schedules import Linear, Scalar, at


@component
class Greedy:
    """The action of the highest value (the first of equals)."""

    def select(self, key: Array, values: Array, progress: Array) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return jnp.argmax(values, axis=-1).astype(jnp.int32)


@component
class EpsilonGreedy:
    """With probability `epsilon` an action drawn uniformly from all, otherwise the greedy one."""

    epsilon: Scalar = Linear(1.0, 0.05, over=0.5)

    def select(self, key: Array, values: Array, progress: Array) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        # One draw for both questions: on a few environments, drawing is most of what acting costs.
        whether, which = jax.random.uniform(key, (2, *values.shape[:-1]))
        uniform = jnp.floor(which * values.shape[-1]).astype(jnp.int32)
        return jnp.where(whether < at(self.epsilon, progress), uniform, jnp.argmax(values, axis=-1).astype(jnp.int32))


@component
class Boltzmann:
    """Actions with probability proportional to exp(value / temperature)."""

    temperature: Scalar = 1.0

    def select(self, key: Array, values: Array, progress: Array) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return jax.random.categorical(key, values / at(self.temperature, progress)).astype(jnp.int32)


Exploration: TypeAlias = Greedy | EpsilonGreedy | Boltzmann
