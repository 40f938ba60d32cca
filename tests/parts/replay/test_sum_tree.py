"""Sum trees: sums of what lies below, whatever was written, and exact draws in proportion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.parts.replay import sum_tree

assign = jax.jit(sum_tree.assign)
fill = jax.jit(sum_tree.fill, static_argnums=2)
find = jax.jit(sum_tree.find)


def built(weights):
    tree = sum_tree.empty(len(weights))
    levels, below = [], np.asarray(weights, np.float64)
    for level in (tree.leaves, *tree.sums):
        filled = np.zeros(level.shape)
        filled.ravel()[: len(below)] = below
        levels.append(jnp.asarray(filled, jnp.float32))
        below = filled.sum(axis=1)
    return sum_tree.SumTree(levels[0], tuple(levels[1:]))


def assert_summed(tree):
    below = np.asarray(tree.leaves, np.float64)
    for level in tree.sums:
        below = below.sum(axis=1)
        sums = np.asarray(level).ravel()
        np.testing.assert_allclose(sums[: len(below)], below, rtol=1e-6)
        assert not sums[len(below) :].any()
        below = np.asarray(level, np.float64)


def test_what_is_written_is_there_and_is_summed():
    rng, size = np.random.default_rng(0), 70_000
    tree, plain = sum_tree.empty(size), np.zeros(size, np.float32)
    for _ in range(6):
        first = int(rng.integers(size - 45))
        tree = fill(tree, jnp.int32(first), 45, jnp.float32(first % 7))
        plain[first : first + 45] = first % 7
        index = np.sort(rng.integers(0, 300, 64)).astype(np.int32) + first // 2
        values = rng.uniform(size=64).astype(np.float32)
        wanted = index % 5 > 0
        tree = assign(tree, index, values, wanted)
        for i, value in reversed(list(zip(index[wanted], values[wanted], strict=True))):  # of equal ones the first
            plain[i] = value
    leaves = np.asarray(tree.leaves)
    np.testing.assert_array_equal(leaves.ravel()[:size], plain)
    assert not leaves.ravel()[size:].any()
    assert len(tree.sums) == 2
    assert_summed(tree)
    assert len(set(index)) < len(index)


def test_a_block_at_the_end_is_summed_too():
    size = 32**3
    for first, count in ((size - 1, 1), (size - 33, 33), (0, size)):
        tree = fill(sum_tree.empty(size), jnp.int32(first), count, jnp.float32(1.0))
        assert_summed(tree)
        assert float(jnp.sum(tree.sums[-1])) == float(jnp.sum(tree.leaves)) == count


@pytest.mark.parametrize("size", [1, 40, 3_000, 300_000])
def test_every_share_falls_where_the_running_sums_say(size):
    # Whole numbers, so that every sum is exact and the middle of each unit of mass belongs to one entry.
    rng = np.random.default_rng(size)
    weights = rng.integers(0, 3, size) + (np.arange(size) == size // 2)
    total = int(weights.sum())
    units = rng.integers(0, total, 128)
    index, found = find(built(weights), jnp.asarray((units + 0.5) / total, jnp.float32))
    np.testing.assert_array_equal(index, np.searchsorted(np.cumsum(weights), units, side="right"))
    np.testing.assert_array_equal(found, weights[np.asarray(index)])


def test_what_weighs_nothing_is_never_found():
    rng = np.random.default_rng(1)
    weights = np.where(rng.uniform(size=5_000) < 0.01, rng.uniform(size=5_000), 0.0)
    weights[[0, 31, 32]] = 0.0
    weights[3_000:] = 0.0  # whole nodes of every level
    borders = np.cumsum(weights, dtype=np.float32) / np.float32(weights.sum())
    shares = np.concatenate([[0.0, 1.0, 1 - 2.0**-24], borders, np.nextafter(borders, 2), np.nextafter(borders, -1)])
    index, found = find(built(weights), jnp.asarray(shares.clip(0, 1), jnp.float32))
    assert (weights[np.asarray(index)] > 0).all() and (np.asarray(found) > 0).all()


def test_where_all_weigh_nothing_the_first_is_found():
    np.testing.assert_array_equal(find(sum_tree.empty(5_000), jnp.array([0.0, 0.5, 1.0]))[0], 0)


def test_of_one_index_many_times_the_first_counts():
    index, values = jnp.full(3, 70, jnp.int32), jnp.array([2.0, 3.0, 4.0])
    tree = assign(sum_tree.empty(5_000), index, values, jnp.ones(3, bool))
    assert float(tree.leaves.ravel()[70]) == float(jnp.sum(tree.leaves)) == float(jnp.sum(tree.sums[0])) == 2.0
