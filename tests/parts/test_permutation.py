"""Permutations: every size is one, and what a minibatch sees of them is uniform (chi-square over many keys)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.errors import OperantError
from operant.parts import permutation as module
from operant.parts.permutation import permutation, permute

KEYS = jax.random.split(jax.random.key(7), 20_000)


def draws(n, keys=KEYS):
    return np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, n)))(keys))


def membership(orders, minibatches):
    """[keys, index]: the minibatch that each index falls into."""
    where = np.argsort(orders, axis=1)
    return where // (orders.shape[1] // minibatches)


def position_statistic(orders):
    """Chi-square, over all (index, position) cells, in standard deviations above its mean."""
    keys, n = orders.shape
    cells = np.bincount((orders + n * np.arange(n)).ravel(), minlength=n * n)
    expected = keys / n
    degrees = (n - 1) ** 2
    return (((cells - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2 * degrees)


def membership_statistic(orders, minibatches):
    """The largest chi-square over indices of which minibatch it falls into, as a p-value for the maximum."""
    keys, n = orders.shape
    which = membership(orders, minibatches)
    counts = np.stack([(which == m).sum(axis=0) for m in range(minibatches)])
    expected = keys / minibatches
    chi = ((counts - expected) ** 2 / expected).sum(axis=0).max()
    return min(1.0, n * stats.chi2.sf(chi, minibatches - 1))


def pair_statistic(orders, minibatches):
    """Root mean square, over pairs, of the standardised frequency of sharing a minibatch: 1 where uniform."""
    keys, n = orders.shape
    which = membership(orders, minibatches)
    chance = (n / minibatches - 1) / (n - 1)
    together = [(which[:, base + 1 :] == which[:, [base]]).mean(axis=0) for base in (0, 1, 5, n // 2)]
    z = (np.concatenate(together) - chance) / np.sqrt(chance * (1 - chance) / keys)
    return np.sqrt((z**2).mean())


@pytest.mark.parametrize("sizes", [range(1, 33), range(33, 201)])
def test_every_size_up_to_200_is_a_permutation(sizes):
    # One program for all sizes that take the same number of rounds; a program for each would compile for minutes.
    bits = np.array([int(np.ceil(np.log2(n))) for n in sizes])
    (rounds,) = {module.num_rounds(int(b)) for b in bits}
    key = jax.random.key(3)
    words = jax.random.bits(key, (rounds, 2))
    sizes = np.array(sizes)
    index = jnp.arange(256, dtype=jnp.uint32)

    def order_of(n, bits):
        # Walking ends only for what starts below n: the surplus repeats the last index.
        return permute(
            words, jnp.minimum(index, n - 1), n, (jnp.uint32(1) << bits) - 1, jnp.maximum((bits + 1) // 2, 1)
        )

    one = jax.vmap(order_of)
    for n, order in zip(sizes, np.asarray(jax.jit(one)(np.uint32(sizes), np.uint32(bits))), strict=True):
        np.testing.assert_array_equal(np.sort(order[:n]), np.arange(n), err_msg=f"n = {n}")
        if n in (1, 2, 3, 32, 33, 64, 65, 200):
            np.testing.assert_array_equal(permutation(key, int(n)), order[:n])


@pytest.mark.parametrize("n", [0, 1000, 4096, 8193, 99_991, 2**20])
def test_big_sizes_are_permutations_under_jit(n):
    order = np.asarray(jax.jit(lambda key: permutation(key, n))(jax.random.key(n)))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_vmap_over_keys_is_each_key_alone():
    orders = draws(100, KEYS[:50])
    np.testing.assert_array_equal(orders[11], permutation(KEYS[11], 100))
    assert len({tuple(order) for order in orders}) == 50


def test_a_size_that_makes_no_sense_is_refused():
    with pytest.raises(OperantError, match="size"):
        permutation(jax.random.key(0), -1)


@pytest.mark.parametrize("n, minibatches", [(12, 3), (64, 4), (60, 4), (33, 3), (256, 8), (1000, 4)])
def test_minibatches_and_pairs_are_uniform(n, minibatches):
    orders = draws(n)
    assert membership_statistic(orders, minibatches) > 1e-3
    # 20,000 keys and at most 3,990 dependent pairs: a true shuffle gives 0.92 to 1.08 except at the smallest sizes.
    assert pair_statistic(orders, minibatches) < (1.25 if n > 12 else 1.6)


@pytest.mark.parametrize("n", [7, 32, 50])
def test_positions_are_uniform(n):
    assert abs(position_statistic(draws(n))) < 4


@pytest.mark.parametrize("n", [3, 4, 5])
def test_all_orders_of_a_few_are_equally_likely(n):
    orders = draws(n)
    _, counts = np.unique(orders @ n ** np.arange(n), return_counts=True)
    assert len(counts) == np.prod(np.arange(1, n + 1))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_one_round_is_still_a_permutation_but_fails_the_same_statistics(monkeypatch):
    monkeypatch.setattr(module, "num_rounds", lambda bits: 1)
    orders = draws(33)
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(33))
    assert membership_statistic(orders, 3) < 1e-6
    assert pair_statistic(orders, 3) > 5
    assert position_statistic(orders) > 10
