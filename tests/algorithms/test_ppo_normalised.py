"""PPO with normalised observations and rewards: whose statistics, when they change, and that they are used."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.contracts import Clock, Context
from operant.parts.normalisers import Moments
from operant.parts.schedules import Linear
from tests.algorithms.ppo_windows import (
    ENVS,
    LAST,
    LENGTH,
    MINIBATCHES,
    PROGRESS,
    SIZE,
    SMALL,
    WHOLE,
    disturbed,
    forward,
    learned,
    whole_loss_gradient,
    window_of,
)

NORMALISING = dataclasses.replace(
    WHOLE, normalise=("observations", "rewards"), learning_rate=Linear(0.0, 0.0), num_minibatches=MINIBATCHES
)


def shifted(state, window):
    """Moments that matter, and observations far from zero."""
    moments = Moments(jnp.array([3.0, -2.0, 0.5]), jnp.array([4.0, 0.25, 9.0]), jnp.float32(50.0))
    state = state._replace(policy=state.policy._replace(moments=moments))
    observation = np.asarray(window.steps.observation) * 2.0 + 1.0
    following = np.asarray(window.steps.next_observation) * 2.0 + 1.0
    return state, window_of(NORMALISING, state, observation, following, SMALL)[0]


@pytest.mark.parametrize("recompute", [False, True])
def test_observation_statistics_change_after_the_window_and_not_within(recompute):
    state, window = shifted(*disturbed())
    after, metrics = learned(dataclasses.replace(NORMALISING, recompute=recompute), state, window, spec=SMALL)
    assert abs(metrics["approximate_kl"]) < 1e-10 and metrics["clip_fraction"] == 0.0
    old, seen = state.policy.moments, np.asarray(window.steps.observation, np.float64).reshape(SIZE, -1)
    mean = (50 * np.asarray(old.mean) + seen.sum(axis=0)) / (50 + SIZE)
    second = (50 * (np.asarray(old.variance) + np.asarray(old.mean) ** 2) + np.square(seen).sum(axis=0)) / (50 + SIZE)
    moments = after.policy.moments
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(moments.variance, second - mean**2, rtol=1e-4)
    assert float(moments.count) == 50 + SIZE
    # With the new statistics the same window is seen otherwise: that is what must not happen within it.
    _, metrics = learned(NORMALISING, after, window, spec=SMALL)
    assert metrics["approximate_kl"] > 1e-4


def test_evaluation_sees_what_training_saw_and_takes_the_likeliest_action():
    state, window = shifted(*disturbed())
    observation = window.steps.observation[0]
    context = Context(SMALL, Clock(jnp.int32(0), jnp.float32(1)))
    _, action, extras = NORMALISING.act(state.policy, (), observation, jax.random.key(0), context, explore=False)
    moments = state.policy.moments
    features = (np.asarray(observation) - np.asarray(moments.mean)) / np.sqrt(np.asarray(moments.variance))
    np.testing.assert_array_equal(action, forward(state.policy.actor.network, features)[2].argmax(axis=1))
    assert extras == ()


def test_running_returns_start_anew_with_each_episode_and_belong_to_slots():
    state, window = disturbed()
    running, expected, collected = np.zeros(ENVS), [], []
    for _ in range(2):
        for t in range(LENGTH):
            running = 0.9 * running + np.asarray(window.steps.reward, np.float64)[t]
            collected.append(running.copy())
            running[LAST[t]] = 0.0
        expected.append((running.copy(), np.var(collected)))
    order = jnp.array([2, 0, 3, 1])
    mixed = window._replace(steps=jax.tree.map(lambda leaf: leaf[:, order], window.steps), slots=order)
    for windows in ((window, window), (mixed, window), (window, mixed)):
        now = state
        for one, (returns, variance) in zip(windows, expected, strict=True):
            now, _ = learned(NORMALISING, now, one, spec=SMALL)
            np.testing.assert_allclose(now.carried.returns, returns, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(now.scale.variance, variance, rtol=1e-4)


def scaled_by_hand(window, moments, discount):
    """Rewards over the standard deviation of all running discounted returns, within ten, in float64."""
    rewards, running, returns = np.asarray(window.steps.reward, np.float64), np.zeros(ENVS), []
    for t in range(LENGTH):
        running = discount * running + rewards[t]
        returns.append(running)
        running = np.where(LAST[t], 0.0, running)
    old, mean, variance = (float(part) for part in (moments.count, moments.mean, moments.variance))
    count, second = old + SIZE, old * (variance + mean**2) + np.square(returns).sum()
    spread = second / count - ((old * mean + np.sum(returns)) / count) ** 2
    return np.clip(rewards / np.sqrt(spread), -10, 10)


def test_the_loss_is_that_of_the_normalised_window():
    state, window = shifted(*disturbed())
    beyond = window.steps.observation.at[0, 3].set(jnp.array([300.0, -300.0, 0.0]))
    window = window_of(NORMALISING, state, beyond, window.steps.next_observation, SMALL)[0]
    off = jnp.float32(np.random.default_rng(9).normal(size=(LENGTH, ENVS)) * 0.4)
    window = window._replace(steps=window.steps._replace(extras=window.steps.extras + off))
    state = state._replace(scale=Moments(jnp.float32(0.0), jnp.float32(0.01), jnp.float32(1000.0)))
    moments = state.policy.moments
    mean, spread = np.asarray(moments.mean, np.float64), np.sqrt(np.asarray(moments.variance, np.float64))
    seen, following = (
        np.clip((np.asarray(each, np.float64) - mean) / spread, -10, 10)
        for each in (window.steps.observation, window.steps.next_observation)
    )
    scaled = scaled_by_hand(window, state.scale, 0.9)
    assert scaled.min() == -10 and scaled.max() == 10 and seen.min() == -10 and seen.max() == 10
    plain = window.steps._replace(observation=seen, next_observation=following, reward=scaled)
    algorithm = dataclasses.replace(WHOLE, normalise=("observations", "rewards"))
    _, metrics = learned(algorithm, state, window, PROGRESS, spec=SMALL)
    _, expected = whole_loss_gradient(state, window._replace(steps=plain), 0.25, 0.15, 0.7)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
