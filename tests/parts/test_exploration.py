"""Exploration rules: the frequencies of their actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.errors import OperantError
from operant.parts.component import check_fields
from operant.parts.exploration import (
    UCB,
    Boltzmann,
    EpsilonGreedy,
    Greedy,
    Options,
    Random,
    legal_options,
    refuse_counts,
)
from operant.parts.schedules import Linear

VALUES = jnp.array([0.5, 2.0, -1.0, 1.0])
COUNT = 40_000


def frequencies(rule, progress=0.0, values=VALUES):
    batch = jnp.broadcast_to(values, (COUNT, len(values)))
    actions = jax.jit(rule.select)(jax.random.key(0), Options(batch), jnp.float32(progress))
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


def test_random_takes_every_action_alike():
    assert fits(frequencies(Random()), np.ones(4))
    assert not fits(frequencies(Random()), [1.0, 1.0, 1.0, 1.1])


@pytest.mark.parametrize("rule", [Greedy(), EpsilonGreedy(0.0)])
def test_greedy_takes_the_best_and_any_of_equals(rule):
    assert fits(frequencies(rule), np.eye(4)[1])
    assert fits(frequencies(rule, values=jnp.array([3.0, 1.0, 3.0, 3.0])), [1, 0, 1, 1])
    assert fits(frequencies(rule, values=jnp.zeros(4)), np.ones(4))


COUNTS = jnp.array([4.0, 100.0, 9.0, 30.0])


@pytest.mark.parametrize(
    "rule", [Random(), Greedy(), EpsilonGreedy(0.3), EpsilonGreedy(Linear(0.8, 0.2)), Boltzmann(0.7), UCB(1.5)]
)
@pytest.mark.parametrize("values", [VALUES, jnp.array([1.0, 1.0, 0.5, 1.0])])
def test_probabilities_are_those_of_the_actions(rule, values):
    shares = rule.probabilities(Options(values[None], counts=COUNTS[None]), jnp.float32(0.5))
    np.testing.assert_allclose(np.sum(shares), 1.0, rtol=1e-6)
    options = Options(jnp.broadcast_to(values, (COUNT, 4)), counts=jnp.broadcast_to(COUNTS, (COUNT, 4)))
    actions = jax.jit(rule.select)(jax.random.key(1), options, jnp.float32(0.5))
    assert actions.shape == (COUNT,) and actions.dtype == jnp.int32
    assert fits(np.bincount(actions, minlength=4), shares[0])


LEGAL = jnp.array([True, False, True, False])


@pytest.mark.parametrize("rule", [Random(), Greedy(), EpsilonGreedy(0.3), Boltzmann(0.7), UCB(1.5)])
def test_what_is_illegal_is_never_taken(rule):
    values, counts, legal = (jnp.broadcast_to(given, (COUNT, 4)) for given in (VALUES, 0 * COUNTS, LEGAL))
    options = legal_options(values, legal)._replace(counts=counts)
    actions = jax.jit(rule.select)(jax.random.key(1), options, jnp.float32(0.5))
    shares = rule.probabilities(options, jnp.float32(0.5))[0]
    assert shares[1] == shares[3] == 0 and fits(np.bincount(actions, minlength=4), shares)
    of_two = Options(VALUES[None, ::2], counts=0 * COUNTS[None, ::2])
    np.testing.assert_allclose(shares[::2], rule.probabilities(of_two, jnp.float32(0.5))[0], rtol=1e-6)


def test_ucb_is_value_and_width_as_the_book_writes_them():
    t = float(COUNTS.sum()) + 1  # the present choice is the t-th
    expected = np.asarray(VALUES, float) + 2.0 * np.sqrt(np.log(t) / np.asarray(COUNTS, float))
    options = Options(VALUES[None], counts=COUNTS[None])
    np.testing.assert_allclose(UCB(2.0).bounds(options, jnp.float32(0.0))[0], expected, rtol=1e-6)
    wide = UCB(Linear(8.0, 0.0))
    choose = lambda progress: int(wide.select(jax.random.key(0), options, progress)[0])  # noqa: E731
    assert choose(jnp.float32(0.0)) == 0 and choose(jnp.float32(1.0)) == 1


def test_ucb_first_takes_what_was_never_taken():
    counts = jnp.broadcast_to(jnp.array([0.0, 5.0, 0.0, 1.0]), (COUNT, 4))
    values = jnp.broadcast_to(VALUES, (COUNT, 4))
    actions = UCB().select(jax.random.key(0), Options(values, counts=counts), jnp.float32(0.0))
    assert fits(np.bincount(actions, minlength=4), [1, 0, 1, 0])


def test_rules_that_need_counts_are_refused_where_there_are_none():
    with pytest.raises(OperantError, match="dqn keeps no counts of its actions, which UCB needs"):
        refuse_counts(UCB(), "dqn")
    refuse_counts(Boltzmann(), "dqn")


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (EpsilonGreedy(2.0), "epsilon must be between 0 and 1, not 2.0"),
        (EpsilonGreedy(Linear(1.0, -0.5)), r"epsilon must be between 0 and 1, not Linear\(start=1.0, end=-0.5"),
        (Boltzmann(0.0), "temperature must be positive, not 0.0"),
        (UCB(-1.0), "width must be at least 0, not -1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(rule, wanted):
    with pytest.raises(OperantError, match=wanted):
        check_fields(rule)
    check_fields(type(rule)())
