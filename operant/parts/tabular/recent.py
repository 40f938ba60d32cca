"""The last transitions of a stream, whose n-step returns are not complete yet."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Recent(NamedTuple):
    """Up to n transitions of one stream and one episode, the oldest first; `count` of the n places are filled."""

    states: Array  # int32 [n]
    actions: Array  # int32 [n]
    rewards: Array  # [n]
    count: Array  # int32

    @staticmethod
    def none(num_envs: int, n: int) -> "Recent":
        """Of each of `num_envs` streams, nothing."""
        number = jnp.zeros((num_envs, n), jnp.int32)
        return Recent(number, jnp.copy(number), jnp.zeros((num_envs, n)), jnp.zeros(num_envs, jnp.int32))

    def push(self, row: Any) -> "Recent":
        """With one more transition (`parts.tabular.learners.Row`), for which there is room."""
        new = row.state, row.action, row.reward
        states, actions, rewards = (old.at[self.count].set(each) for old, each in zip(self[:3], new, strict=True))
        return Recent(states, actions, rewards, self.count + 1)

    def drop(self, number: Array) -> "Recent":
        """Without the `number` oldest: none, one, or all."""
        states, actions, rewards = (jnp.where(number > 0, jnp.roll(old, -1), old) for old in self[:3])
        return Recent(states, actions, rewards, self.count - number)

    def rewards_since(self, first: Array, discount: Array | float) -> tuple[Array, Array]:
        """The discounted sum of the rewards from place `first` on, and how many they are."""
        steps = jnp.arange(self.rewards.shape[0]) - first
        inside = (steps >= 0) & (steps < self.count - first)
        weights = jnp.where(inside, discount ** jnp.maximum(steps, 0), 0.0)
        return jnp.sum(weights * self.rewards), self.count - first
