"""Exploration rules: the frequencies of their actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.parts.exploration import Boltzmann, EpsilonGreedy, Greedy
from operant.parts.schedules import Linear

VALUES = jnp.array([0.5, 2.0, -1.0, 1.0])
COUNT = 40_000


def frequencies(rule, progress=0.0, values=VALUES):
    batch = jnp.broadcast_to(values, (COUNT, len(values)))
    actions = jax.jit(rule.select)(jax.random.key(0), batch, jnp.float32(progress))
    assert actions.shape == (COUNT,) and actions.dtype == jnp.int32
    return np.bincount(actions, minlength=len(values))


def fits(counts, shares):
    """Chi-square at 1e-4; where a share is zero, nothing may be counted."""
    shares = np.asarray(shares, float)
    possible = shares > 0
    assert not counts[~possible].any()
    expected = COUNT * shares[possible] / shares.sum()
    return possible.sum() == 1 or stats.chisquare(counts[possible], expected).pvalue > 1e-4


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_epsilon_is_spread_over_all_actions(epsilon):
    assert fits(frequencies(EpsilonGreedy(epsilon)), epsilon / 4 + (1 - epsilon) * np.eye(4)[1])


@pytest.mark.parametrize("progress, epsilon", [(0.0, 1.0), (0.25, 0.6), (0.5, 0.2), (0.9, 0.2)])
def test_epsilon_follows_its_schedule(progress, epsilon):
    counts = frequencies(EpsilonGreedy(Linear(1.0, 0.2, over=0.5)), progress)
    assert fits(counts, epsilon / 4 + (1 - epsilon) * np.eye(4)[1])


def test_so_many_draws_can_tell_the_greedy_actions_own_share():
    # The greedy action is among those that exploring draws from.
    counts = frequencies(EpsilonGreedy(0.3))
    assert fits(counts, [0.075, 0.775, 0.075, 0.075])
    assert not fits(counts, [0.1, 0.7, 0.1, 0.1])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_boltzmann_is_the_softmax_of_values_over_temperature(temperature):
    counts = frequencies(Boltzmann(temperature))
    assert fits(counts, np.exp(np.asarray(VALUES, float) / temperature))
    assert not fits(counts, np.exp(np.asarray(VALUES, float) / (temperature * 2)))


def test_boltzmann_follows_its_schedule():
    assert fits(frequencies(Boltzmann(Linear(4.0, 1.0)), 0.5), np.exp(np.asarray(VALUES, float) / 2.5))


def test_greedy_takes_the_first_of_the_best():
    values = jnp.array([[0.0, 1.0, 1.0], [3.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    for rule in (Greedy(), EpsilonGreedy(0.0)):
        np.testing.assert_array_equal(rule.select(jax.random.key(0), values, jnp.float32(0.0)), [1, 0, 2])
