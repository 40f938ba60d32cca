"""Penalties on how far a policy moves in one update."""

import jax.numpy as jnp
from jax import Array

from operant.parts.component import check_positive, component


@component
class AdaptiveKL:
    """beta times the divergence of the new policy from the old, beta adapted to a target (Schulman et al. 2017, eq. 8).

    After each window with divergence d: beta is halved where d < target / 1.5, doubled where d > 1.5 target. It stays
    within a millionth and a million, which the paper does not say: from zero or infinity no doubling leads back.
    """

    target: float = 0.01  # in nats
    beta: float = 1.0  # before the first window

    def check_ranges(self) -> None:
        check_positive(self, "target", "beta")

    def adapted(self, beta: Array, divergence: Array) -> Array:
        """The next window's beta; both scalars."""
        near = jnp.where(divergence < self.target / 1.5, beta / 2, beta)
        return jnp.clip(jnp.where(divergence > self.target * 1.5, beta * 2, near), 1e-6, 1e6)
