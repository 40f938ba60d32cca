"""Quantile regression of returns: what learners of quantiles share."""

import jax.numpy as jnp
from jax import Array

from operant.equations import quantile_huber
from operant.parts.values.deep_q import Goal


def midpoints(count: int) -> Array:
    """The fractions (2 i - 1) / 2 N for i = 1, ..., N: `[N]`."""
    return (jnp.arange(count) + 0.5) / count


def equally_likely(quantiles: Array) -> tuple[Array, Array]:
    """Quantiles at the midpoints as possible returns, and their probabilities, both `[..., N]`."""
    return quantiles, jnp.full(quantiles.shape, 1 / quantiles.shape[-1])


def regress(
    quantiles: Array, fractions: Array, goal: Goal, threshold: Array | float
) -> tuple[Array, dict[str, Array], Array]:
    """Losses `[B]` of `quantiles` at `fractions`, both `[B, N]`, against a goal's `[B, M]`; metrics; priorities `[B]`.

    Every estimate meets every quantile of the target: the sum over estimates of the mean over targets. The priorities
    are the absolute errors of the mean return.
    """
    target = goal.reward[:, None] + goal.discount[:, None] * goal.returns
    errors = target[:, None, :] - quantiles[:, :, None]
    losses = jnp.sum(jnp.mean(quantile_huber(errors, fractions[:, :, None], threshold), axis=2), axis=1)
    value = jnp.mean(quantiles, axis=1)
    return losses, {"value": jnp.mean(value)}, jnp.abs(jnp.mean(target, axis=1) - value)
