"""Metrics inside a program: ragged quantities travel as (sum, count), so that chunks of any length add up.

"No episode ended" is a count of zero; "not a number" is a sum that is not finite. They are never mixed up.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from operant.contracts import Array, Ratio

# What is watched for values that are not finite, in the order in which a fault is traced back to its cause; and masks,
# for one that allows no action.
WATCHED = ("observation", "reward", "loss", "parameters", "action mask")


class Health(NamedTuple):
    """The first iteration at which each watched quantity was not well; -1 while it is. int32 [5]."""

    fault: Array

    @property
    def bad(self) -> Array:
        return jnp.any(self.fault >= 0)


def well() -> Health:
    return Health(jnp.full(len(WATCHED), -1, jnp.int32))


def examine(
    health: Health,
    iteration: Array,
    observed: Any,
    rewards: Any,
    metrics: dict[str, Array | Ratio],
    policy: Any,
    stuck: Array | bool = False,
) -> Health:
    """`health` after one iteration; one reduction per quantity, since a sum keeps every NaN and infinity.

    `stuck` tells whether a mask allowed no action.
    """
    broken = ~jnp.isfinite(jnp.stack([summed(tree) for tree in (observed, rewards, metrics, policy)]))
    broken = jnp.append(broken, stuck)
    return Health(jnp.where((health.fault < 0) & broken, iteration, health.fault))


def summed(tree: Any) -> Array:
    """The sum of everything real in `tree`, to be asked whether it is finite."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    # Scaled down so that a sum of large but finite values does not overflow into a false alarm.
    return sum((jnp.sum(leaf.astype(jnp.float32) * 1e-6) for leaf in floats), jnp.float32(0.0))


def add(totals: dict[str, Ratio], metrics: dict[str, Array | Ratio]) -> dict[str, Ratio]:
    """`totals` with one iteration's metrics added: ratios as they are, scalars with a count of one."""

    def ratio(value: Array | Ratio) -> Ratio:
        return value if isinstance(value, Ratio) else Ratio(jnp.float32(value), jnp.float32(1.0))

    new = {name: ratio(value) for name, value in metrics.items()}
    return {name: Ratio(totals[name].total + new[name].total, totals[name].count + new[name].count) for name in totals}


def cleared(totals: dict[str, Ratio]) -> dict[str, Ratio]:
    """`totals` at zero; to be compiled, for one operation a leaf would take longer than a chunk of training."""
    return jax.tree.map(jnp.zeros_like, totals)
