"""Drawing from a large array in proportion to its entries while they change: sums of groups of groups.

A tree of `FAN` children a node: a binary one would be twenty levels deep, with a gather and a scatter for each. Only
the leaves and the sums of groups of leaves are kept; the levels above are so small that they are added up anew for
every draw. All sums are of what lies below, not of changes, so that rounding errors never pile up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FAN = 16


class SumTree(NamedTuple):
    """Weights that are not negative, and the sums of each `FAN` neighbours."""

    leaves: Array  # float32 [groups, FAN]
    sums: Array  # float32 [groups]


def empty(size: int) -> SumTree:
    """A tree for at least `size` weights, all zero."""
    groups = -(-size // FAN**3) * FAN**2  # so that the longest of the levels above need no padding
    return SumTree(jnp.zeros((groups, FAN)), jnp.zeros(groups))


def fill(tree: SumTree, first: Array, count: int, value: Array) -> SumTree:
    """The tree with `value` at `first`, ..., `first + count - 1`."""
    index, groups = first + jnp.arange(count, dtype=jnp.int32), tree.sums.shape[0]
    # Scattered, though it is a range: XLA would copy all leaves for a slice that is written and then read.
    leaves = tree.leaves.at[index // FAN, index % FAN].set(jnp.full(count, value), mode="promise_in_bounds")
    touched = min((count + FAN - 2) // FAN + 1, groups)
    group = jnp.minimum(first // FAN, groups - touched) + jnp.arange(touched, dtype=jnp.int32)
    return _summed(leaves, tree.sums, group)


def assign(tree: SumTree, index: Array, values: Array, wanted: Array) -> SumTree:
    """The tree with `values` `[N]` at `index` int32 `[N]` where `wanted` bool `[N]`.

    `index` is in ascending order; of equal ones the first counts.
    """
    # Inside a training loop this is faster than to drop what is not wanted: every write stays within bounds.
    place = index // FAN, index % FAN
    values = jnp.where(wanted, values, tree.leaves.at[place].get(mode="promise_in_bounds"))
    number = jnp.arange(index.shape[0])
    first = jax.lax.cummax(jnp.where(index != jnp.roll(index, 1), number, 0))
    leaves = tree.leaves.at[place].set(values[first], mode="promise_in_bounds")
    return _summed(leaves, tree.sums, place[0])


def find(tree: SumTree, shares: Array) -> tuple[Array, Array]:
    """Where the `shares` `[N]`, in [0, 1), of the total lie: int32 indices, and each one's share of the total.

    An entry of weight zero is never found, unless all are zero.
    """
    nodes, above = [tree.leaves], tree.sums
    while above.shape[0] > FAN:
        nodes.append(jnp.pad(above, (0, -above.shape[0] % FAN)).reshape(-1, FAN))
        above = _totals(nodes[-1])
    total = _cumulative(above[None])[:, -1:]
    index, rest = _descend(above[None], shares[:, None] * total)
    for rows in reversed(nodes):
        below = _rows(rows, index)
        child, rest = _descend(below, rest)
        index = index * FAN + child
    chosen = jnp.sum(jnp.where(jnp.arange(FAN)[None] == child[:, None], below, 0.0), axis=1)
    return index, chosen / total[:, 0]


def _summed(leaves: Array, sums: Array, group: Array) -> SumTree:
    """The tree of `leaves`, those of the groups `[N]` being new."""
    sums = sums.at[group].set(_totals(_rows(leaves, group)), mode="promise_in_bounds")
    return SumTree(leaves, sums)


def _rows(nodes: Array, index: Array) -> Array:
    return nodes.at[index].get(mode="promise_in_bounds")


def _totals(weights: Array) -> Array:
    """Sums over the last axis, as a product: XLA adds up short rows one by one."""
    return jnp.matmul(weights, jnp.ones(weights.shape[-1]), precision=jax.lax.Precision.HIGHEST)


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
