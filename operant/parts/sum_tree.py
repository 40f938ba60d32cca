"""Drawing from a large array in proportion to its entries while they change: sums of groups of groups.

A tree of `FAN` children a node, for a binary one would be twenty levels deep, each with a gather and a scatter of its
own. Only the leaves and the sums of groups of leaves are kept; the levels above are so small that they are added up
anew for every draw. All sums are of what lies below, not of changes, so that rounding errors never pile up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FAN = 32
_BELOW = FAN**3  # leaves below each node of the highest level


class SumTree(NamedTuple):
    """Weights that are not negative, and the sums of each `FAN` neighbours."""

    leaves: Array  # float32 [groups, FAN]
    sums: Array  # float32 [groups]


def empty(size: int) -> SumTree:
    """A tree for at least `size` weights, all zero."""
    groups = -(-size // _BELOW) * FAN**2
    return SumTree(jnp.zeros((groups, FAN)), jnp.zeros(groups))


def fill(tree: SumTree, first: Array, count: int, value: Array) -> SumTree:
    """The tree with `value` at `first`, ..., `first + count - 1`."""
    index, groups = first + jnp.arange(count, dtype=jnp.int32), tree.sums.shape[0]
    # Scattered, though it is a range: XLA would copy all leaves for a slice that is written and then read.
    leaves = _put(tree.leaves, index, jnp.full(count, value))
    touched = min((count + FAN - 2) // FAN + 1, groups)
    group = jnp.minimum(first // FAN, groups - touched) + jnp.arange(touched, dtype=jnp.int32)
    return _summed(leaves, tree.sums, group)


def assign(tree: SumTree, index: Array, values: Array) -> SumTree:
    """The tree with `values` `[N]` at `index` int32 `[N]`; where an index comes twice, with the value of the first."""
    first = jnp.argmax(index[:, None] == index[None, :], axis=1)
    return _summed(_put(tree.leaves, index, values[first]), tree.sums, index // FAN)


def at(tree: SumTree, index: Array) -> Array:
    """The weights at `index`, `[N]`."""
    return tree.leaves.at[index // FAN, index % FAN].get(mode="promise_in_bounds")


def find(tree: SumTree, shares: Array) -> tuple[Array, Array]:
    """Where the `shares` `[N]`, in [0, 1), of the total lie: int32 indices, and each one's share of the total.

    An entry of weight zero is never found, unless all are zero.
    """
    nodes = [tree.sums.reshape(-1, FAN)]
    nodes.append(jnp.sum(nodes[0], axis=1).reshape(-1, FAN))
    top = jnp.sum(nodes[1], axis=1)[None]
    total = _cumulative(top)[:, -1:]
    index, rest = _descend(top, shares[:, None] * total)
    for rows in (nodes[1], nodes[0], tree.leaves):
        below = _rows(rows, index)
        child, rest = _descend(below, rest)
        index = index * FAN + child
    chosen = jnp.sum(jnp.where(jnp.arange(FAN)[None] == child[:, None], below, 0.0), axis=1)
    return index, chosen / total[:, 0]


def _put(leaves: Array, index: Array, values: Array) -> Array:
    return leaves.at[index // FAN, index % FAN].set(values, mode="promise_in_bounds")


def _summed(leaves: Array, sums: Array, group: Array) -> SumTree:
    """The tree of `leaves`, those of the groups `[N]` being new."""
    sums = sums.at[group].set(jnp.sum(_rows(leaves, group), axis=1), mode="promise_in_bounds")
    return SumTree(leaves, sums)


def _rows(nodes: Array, index: Array) -> Array:
    return nodes.at[index].get(mode="promise_in_bounds")


def _cumulative(weights: Array) -> Array:
    """Running sums over the last axis: one small product, which is faster than a scan."""
    triangle = jnp.triu(jnp.ones((weights.shape[-1],) * 2))
    return jnp.matmul(weights, triangle, precision=jax.lax.Precision.HIGHEST)


def _descend(weights: Array, mass: Array) -> tuple[Array, Array]:
    """The child `[N]` of each node in which `mass` `[N, 1]` falls, and the mass that is left within it `[N, 1]`."""
    cumulative = _cumulative(weights)
    # The last bound is not reached, whatever the roundings: what lies beyond it has no weight.
    mass = jnp.minimum(mass, jnp.nextafter(cumulative[:, -1:], jnp.zeros_like(mass)))
    passed = cumulative <= mass
    child = jnp.sum(passed, axis=1, dtype=jnp.int32)
    before = jnp.max(jnp.where(passed, cumulative, 0.0), axis=1, keepdims=True)
    return jnp.minimum(child, weights.shape[-1] - 1), mass - before
