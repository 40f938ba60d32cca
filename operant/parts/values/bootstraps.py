"""Bootstraps: by which policy, and with what beside it, the values of what followed enter a target.

Every rule answers two questions: the policy in the following states and what is added to their values (`weigh`), and
what is added to the reward (`bonus`). A rule is any component with these: those below, and users' own. The value of an
illegal action is the lowest number there is, and its probability must be zero.
"""

import math
from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from operant.parts.component import check_positive, check_range, component, shape


@shape("a bootstrap (a component with weigh, bonus and one_step)")
@runtime_checkable
class Bootstrap(Protocol):
    """A rule that says what followed is worth."""

    one_step: ClassVar[bool]  # whether it is defined for returns of one step alone

    def weigh(self, target: Array, online: Callable[[], Array]) -> tuple[Array, Array]:
        """The policy's probabilities `[B, A]` in the states that followed, and what is added to their values `[B]`.

        `target` `[B, A]` are the target network's values there, `online()` those of the network that learns.
        """
        ...

    def bonus(self, target: Callable[[], Array], action: Array) -> Array:
        """What is added to the rewards `[B]` of `action` `[B]`; `target()` `[B, A]` are values where it was taken."""
        ...


@component
class Max:
    """The action that the target network prefers: Q-learning (Mnih et al. 2015, algorithm 1)."""

    one_step: ClassVar[bool] = False

    def weigh(self, target: Array, online: Callable[[], Array]) -> tuple[Array, Array]:
        """One for the best action."""
        return _greedy(target), jnp.zeros(target.shape[0])

    def bonus(self, target: Callable[[], Array], action: Array) -> Array:
        """Nothing."""
        return jnp.zeros(action.shape)


@component
class Double:
    """The action that the online network prefers, with the target network's value (van Hasselt et al. 2016, eq. 4)."""

    one_step: ClassVar[bool] = False

    def weigh(self, target: Array, online: Callable[[], Array]) -> tuple[Array, Array]:
        """One for the best action."""
        return _greedy(online()), jnp.zeros(target.shape[0])

    def bonus(self, target: Callable[[], Array], action: Array) -> Array:
        """Nothing."""
        return jnp.zeros(action.shape)


@component
class Munchausen:
    """A soft policy, and its own log-probability as part of the reward (Vieillard et al. 2020, eq. 1).

    pi = softmax(q / `temperature`) by the target network. What followed is worth sum_a pi (q - temperature ln pi); the
    reward has `weight` times temperature ln pi(a|s), not below `lowest`, added.
    """

    temperature: float = 0.03
    weight: float = 0.9
    lowest: float = -1.0
    one_step: ClassVar[bool] = True

    def check_ranges(self) -> None:
        check_positive(self, "temperature")
        check_range(self, 0, 1, "weight")
        check_range(self, -math.inf, 0, "lowest")

    def weigh(self, target: Array, online: Callable[[], Array]) -> tuple[Array, Array]:
        """The soft policy and its entropy."""
        scaled = self._scaled_log_policy(target)
        policy = jnp.exp(scaled / self.temperature)
        return policy, -jnp.sum(policy * scaled, axis=-1)

    def bonus(self, target: Callable[[], Array], action: Array) -> Array:
        """The clipped log-probability of what was done."""
        scaled = self._scaled_log_policy(target())
        taken = jnp.sum(scaled * jax.nn.one_hot(action, scaled.shape[-1]), axis=-1)
        return self.weight * jnp.clip(taken, self.lowest, 0.0)

    def _scaled_log_policy(self, values: Array) -> Array:
        """temperature ln pi, without the loss of digits that dividing first would cost (appendix B.1)."""
        advantages = values - jnp.max(values, axis=-1, keepdims=True)
        exponent = advantages / self.temperature
        return advantages - self.temperature * jax.nn.logsumexp(exponent, axis=-1, keepdims=True)


def _greedy(values: Array) -> Array:
    # One-hot products: on a few actions they are faster than gathers.
    return jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1])
