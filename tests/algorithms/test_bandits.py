"""Bandits: the update against the book's box in float64, and the ten-armed testbed's well-known figures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.tabular.bandit import Bandit
from operant.algorithms.tabular.gradient_bandit import GradientBandit
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.environments.bandits import Arms, BanditTestbed
from operant.environments.compiled import Compiled
from operant.errors import OperantError
from operant.parts.component import check_fields
from operant.parts.exploration import UCB, EpsilonGreedy
from operant.parts.tabular.rates import Visits

ARMS, CONTEXTS, ENVS, PULLS = 4, 3, 2, 60
SPEC = Spec(Discrete(CONTEXTS), Discrete(ARMS), ENVS, 1)


def pulls():
    """Windows of one step: contexts, actions and rewards `[PULLS, ENVS]`."""
    rng = np.random.default_rng(0)
    shape = PULLS, ENVS
    return rng.integers(0, CONTEXTS, shape), rng.integers(0, ARMS, shape), rng.normal(2.0, 1.0, shape)


def learned(algorithm):
    """The states after each window of `pulls`."""
    contexts, actions, rewards = pulls()

    def learn(state, seen):
        here, action, reward = (leaf[None] for leaf in seen)
        ends = jnp.ones((1, ENVS), bool), jnp.zeros((1, ENVS), bool)
        window = Window(Step(here, action, reward, *ends, here, ()), (), jnp.arange(ENVS), jnp.int32(0))
        context = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.0)))
        state, _ = algorithm.learn(state, window, jax.random.key(0), context)
        return state, state

    seen = jnp.int32(contexts), jnp.int32(actions), jnp.float32(rewards)
    return jax.jit(lambda: jax.lax.scan(learn, algorithm.init(jax.random.key(0), SPEC), seen))()[1]


@pytest.mark.parametrize("rate", [Visits(), 0.3])
def test_values_are_the_books(rate):
    values, counts = np.full((CONTEXTS, ARMS), 5.0), np.zeros((CONTEXTS, ARMS), int)
    states = learned(Bandit(learning_rate=rate, initial_value=5.0))
    for t, window in enumerate(zip(*pulls(), strict=True)):
        for s, a, r in zip(*window, strict=True):
            counts[s, a] += 1
            values[s, a] += (r - values[s, a]) * (rate if rate == 0.3 else 1 / counts[s, a])
        np.testing.assert_allclose(states.policy.action_values[t], values, rtol=1e-5)
        np.testing.assert_array_equal(states.policy.counts[t], counts)


def test_a_sample_average_is_the_average_of_the_rewards():
    contexts, actions, rewards = pulls()
    values = learned(Bandit(initial_value=5.0)).policy.action_values[-1]
    for s, a in np.ndindex(CONTEXTS, ARMS):
        np.testing.assert_allclose(values[s, a], rewards[(contexts == s) & (actions == a)].mean(), rtol=1e-5)


@pytest.mark.parametrize("baseline", [True, False])
def test_preferences_are_the_books(baseline):
    preferences, received = np.zeros((CONTEXTS, ARMS)), [[] for _ in range(CONTEXTS)]
    states = learned(GradientBandit(0.4, baseline))
    for t, window in enumerate(zip(*pulls(), strict=True)):
        before, past = preferences.copy(), [list(rewards) for rewards in received]
        for s, a, r in zip(*window, strict=True):
            pi = np.exp(before[s]) / np.exp(before[s]).sum()
            base = (np.mean(past[s]) if past[s] else r) if baseline else 0.0
            preferences[s] += 0.4 * (r - base) * (np.eye(ARMS)[a] - pi)
            received[s].append(r)
        np.testing.assert_allclose(states.policy[t], preferences, rtol=1e-4, atol=1e-5)


EVERY = 100  # pulls in one iteration
FRESH = Arms(problem=None)


def played(algorithm, runs=1, params=FRESH, warm=9, count=1):
    """Mean reward and share of optimal actions `[runs]` over the last `count` of `warm + count` hundred pulls."""
    driver = CompiledDriver(algorithm, Compiled(BanditTestbed(), params), 1, num_seeds=runs)
    carry = driver.cleared(driver.advance(driver.start(0), 0, warm, 10))
    before = np.asarray(carry.state.policy.counts[:, 0])
    carry = driver.advance(carry, warm, count, 10)
    taken = np.asarray(carry.state.policy.counts[:, 0]) - before
    best = np.asarray(carry.worlds.state[:, 0]).argmax(axis=-1)
    rewards = carry.totals["episode_return"]
    return np.asarray(rewards.total / rewards.count), taken[np.arange(len(best)), best] / (count * EVERY)


def apart(samples):
    """Mean and standard error."""
    return samples.mean(), samples.std() / np.sqrt(len(samples))


# Sutton & Barto 2018, figure 2.2, the last of a thousand pulls: reward and share of optimal actions.
BOOK = {0.0: (1.05, 0.37), 0.01: (1.30, 0.60), 0.1: (1.38, 0.79)}


@pytest.fixture(scope="module")
def epsilon_greedy():
    """For each epsilon of `BOOK`, mean rewards and shares of optimal actions on 1000 problems, all in one program."""
    members = [Bandit(exploration=EpsilonGreedy(epsilon)) for epsilon in BOOK for _ in range(1000)]
    rewards, optimal = (each.reshape(len(BOOK), -1) for each in played(members))
    return dict(zip(BOOK, zip(rewards, optimal, strict=True), strict=True))


def test_epsilon_greedy_on_the_ten_armed_testbed(epsilon_greedy):
    for epsilon, seen in epsilon_greedy.items():
        for samples, told in zip(seen, BOOK[epsilon], strict=True):
            mean, error = apart(samples)
            # The figures are read off curves to about two digits.
            assert abs(mean - told) < 3 * error + 0.01, (epsilon, mean, told, error)


def test_upper_confidence_bounds_beat_epsilon_greedy(epsilon_greedy):
    # Figure 2.4: after a thousand pulls they are paid more.
    plain, bounds = apart(epsilon_greedy[0.1][0]), apart(played(Bandit(exploration=UCB(2.0)), 1000)[0])
    assert bounds[0] - plain[0] > 3 * np.hypot(bounds[1], plain[1])


def test_an_optimistic_start_beats_a_realistic_one_that_explores():
    # Figure 2.3: with a constant learning rate, greedy from +5 finds the best arm more often.
    realistic = Bandit(learning_rate=0.1, exploration=EpsilonGreedy(0.1))
    optimistic = dataclasses.replace(realistic, initial_value=5.0, exploration=EpsilonGreedy(0.0))
    shares = played([realistic] * 500 + [optimistic] * 500)[1].reshape(2, 500)
    (plain, error), (hopeful, other) = map(apart, shares)
    assert hopeful - plain > 3 * np.hypot(error, other)


@pytest.mark.slow
def test_a_constant_learning_rate_follows_arms_that_walk():
    # Exercise 2.5: all arms begin alike and walk; sample averages trust the past too much.
    walking = Arms(problem=None, spread=0.0, walk=0.1)
    averaging, constant = (
        apart(played(Bandit(learning_rate=rate, exploration=EpsilonGreedy(0.1)), 1000, walking)[1])
        for rate in (Visits(), 0.1)
    )
    assert constant[0] - averaging[0] > 3 * np.hypot(constant[1], averaging[1])


def test_the_gradient_bandit_needs_its_baseline_where_rewards_are_far_from_zero():
    # Figure 2.5: arm values around +4.
    far = Compiled(BanditTestbed(), Arms(problem=None, mean=4.0))
    shares = []
    for baseline in (True, False):
        driver = CompiledDriver(GradientBandit(0.4, baseline), far, 1, num_seeds=300)
        carry = driver.advance(driver.start(0), 0, 10, 10)
        best = np.asarray(carry.worlds.state[:, 0]).argmax(axis=-1)
        probabilities = np.asarray(jax.nn.softmax(carry.state.policy[:, 0], axis=-1))
        shares.append(apart(probabilities[np.arange(300), best]))
    (with_it, error), (without, other) = shares
    assert with_it - without > 3 * np.hypot(error, other) and with_it > 0.6


def test_the_testbed_pays_its_arms_and_keeps_them_over_episodes():
    bed, arms = BanditTestbed(3), Arms(problem=7)
    assert BanditTestbed(3).default_params == Arms()
    here, values = bed.reset(jax.random.key(0), arms)
    np.testing.assert_array_equal(values, bed.reset(jax.random.key(1), arms)[1])
    assert np.abs(values - bed.reset(jax.random.key(0), Arms(problem=8))[1]).max() > 0.01
    keys = jax.random.split(jax.random.key(2), 40_000)
    outcome = jax.jit(jax.vmap(lambda key: bed.step(key, values, jnp.int32(1), arms)))(keys)
    assert int(here) == 0 and outcome[3].all() and not outcome[4].any()
    np.testing.assert_array_equal(outcome[1], np.broadcast_to(values, (len(keys), 3)))
    np.testing.assert_allclose([outcome[2].mean(), outcome[2].std()], [values[1], 1.0], atol=4 / np.sqrt(len(keys)))
    step = jax.jit(jax.vmap(lambda key: bed.step(key, values, jnp.int32(1), arms._replace(walk=0.5))[1]))
    walked = step(keys) - values[None]
    np.testing.assert_allclose(np.cov(walked.T), 0.25 * np.eye(3), atol=0.01)


def test_what_cannot_be_served_is_refused():
    for algorithm in (Bandit(), GradientBandit()):
        algorithm.check(SPEC)
        for space in ("observation_space", "action_space"):
            with pytest.raises(OperantError, match="Discrete"):
                algorithm.check(dataclasses.replace(SPEC, **{space: Box(-1.0, 1.0, (2,))}))
    with pytest.raises(OperantError, match="learning_rate"):
        Bandit(learning_rate=2.0).check(SPEC)
    with pytest.raises(OperantError, match="power must be between 0 and 1"):
        check_fields(Bandit(learning_rate=Visits(2.0)))
    with pytest.raises(OperantError, match="learning_rate"):
        GradientBandit(learning_rate=-1.0).check(SPEC)
