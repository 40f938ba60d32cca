"""Drawing from a large array in proportion to its entries while they change: sums of groups of groups.

A tree of `FAN` children a node: a binary one would be twenty levels deep, with a gather and a scatter for each, and
wide nodes take long to search. Kept are the weights and the sums of each row of them, the sums of each row of those,
and so on, until so few are left that they are added up anew for every draw. All sums are of what lies below, not of
changes, so that rounding errors never pile up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FAN = 8


class SumTree(NamedTuple):
    """Weights that are not negative, and their sums; every level is float32 `[rows, FAN]`, entry after entry."""

    leaves: Array
    sums: tuple[Array, ...]  # an entry is the sum of one row of the level before it, first of the leaves


def empty(size: int) -> SumTree:
    """A tree for at least `size` weights, all zero."""
    rows = [size // FAN + 1]  # one weight more, for `assign`
    while rows[-1] > FAN**3:
        rows.append(-(-rows[-1] // FAN))
    leaves, *sums = (jnp.zeros((count, FAN)) for count in rows)
    return SumTree(leaves, tuple(sums))


def fill(tree: SumTree, first: Array, count: int, value: Array) -> SumTree:
    """The tree with `value` at `first`, ..., `first + count - 1`."""
    # Scattered, though it is a range: XLA would copy all leaves for a slice that is written and then read.
    leaves = _written(tree.leaves, first + jnp.arange(count, dtype=jnp.int32), jnp.full(count, value))
    below, sums = leaves, []
    for level in tree.sums:
        count = min((count + FAN - 2) // FAN + 1, below.shape[0])
        first = jnp.minimum(first // FAN, below.shape[0] - count)
        below = _summed(below, level, first + jnp.arange(count, dtype=jnp.int32))
        sums.append(below)
    return SumTree(leaves, tuple(sums))


def assign(tree: SumTree, index: Array, values: Array, wanted: Array) -> SumTree:
    """The tree with `values` `[N]` at `index` int32 `[N]` where `wanted` bool `[N]`.

    `index` is in ascending order; of equal ones the first counts.
    """
    wanted = wanted & jnp.append(True, index[1:] != index[:-1])
    # Inside a training loop this is faster than to drop what is not wanted: the last weight is set to zero, as it is.
    place = jnp.where(wanted, index, tree.leaves.size - 1)
    leaves = _written(tree.leaves, place, jnp.where(wanted, values, 0.0))
    below, sums = leaves, []
    for level in tree.sums:
        index = index // FAN
        below = _summed(below, level, index)
        sums.append(below)
    return SumTree(leaves, tuple(sums))


def find(tree: SumTree, shares: Array) -> tuple[Array, Array]:
    """Where the `shares` `[N]`, in [0, 1), of the total lie: int32 indices, and the weights there.

    Of finite weights, one of zero is never found, unless the total is zero or subnormal: then the first.
    """
    levels = [tree.leaves, *tree.sums]
    while levels[-1].shape[0] > 1:
        sums = _totals(levels[-1])
        levels.append(jnp.pad(sums, (0, -sums.shape[0] % FAN)).reshape(-1, FAN))
    index, rest = jnp.zeros(1, jnp.int32), shares * _totals(levels[-1])
    for level in reversed(levels):
        child, rest, weight = _descend(_rows(level, index), rest)
        index, rest = _settled(index * FAN + child), _settled(rest)
    return index, weight


def _descend(weights: Array, mass: Array) -> tuple[Array, Array, Array]:
    """The child `[N]` of each row of `weights` `[N, FAN]` in which `mass` `[N]` falls, what is left, its weight.

    Written out child by child, without a sum or product over the short axis: XLA makes one loop over N of it.
    """
    bounds = [weights[:, 0]]
    for child in range(1, FAN):
        bounds.append(bounds[-1] + weights[:, child])
    # The last bound is not reached, whatever the roundings: what lies beyond it has no weight.
    mass = jnp.minimum(mass, _just_below(bounds[-1]))
    number, before, weight = jnp.zeros(mass.shape, jnp.int32), jnp.zeros_like(mass), weights[:, 0]
    for child, bound in enumerate(bounds[:-1], 1):
        passed = bound <= mass
        number = number + passed
        before = jnp.where(passed, bound, before)
        weight = jnp.where(passed, weights[:, child], weight)
    return number, mass - before, weight


def _just_below(values: Array) -> Array:
    """The next smaller numbers, of positive ones (`nextafter` takes longer); not a number for zero."""
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    return jax.lax.bitcast_convert_type(bits - 1, jnp.float32)


def _settled(values: Array) -> Array:
    """`values` `[N]` as they are. XLA would work them out again for each use, with all levels above: not a gather."""
    return _rows(values, jnp.arange(values.shape[0], dtype=jnp.int32))


def _summed(below: Array, sums: Array, index: Array) -> Array:
    """`sums` with those at `index` `[N]` taken anew from the rows `below`."""
    return _written(sums, index, _totals(_rows(below, index)))


def _written(level: Array, index: Array, values: Array) -> Array:
    # Not into the level made flat, though that is faster alone: a training loop would copy the level every time.
    return level.at[index // FAN, index % FAN].set(values, mode="promise_in_bounds")


def _rows(level: Array, index: Array) -> Array:
    return level.at[index].get(mode="promise_in_bounds")


def _totals(weights: Array) -> Array:
    """Sums of the rows, as a product: XLA adds up short rows one by one."""
    return jnp.matmul(weights, jnp.ones(FAN), precision=jax.lax.Precision.HIGHEST)
