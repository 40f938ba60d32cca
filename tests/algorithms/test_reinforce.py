"""REINFORCE: the gradient of whole episodes is the exact gradient, on a chain where that can be solved for."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Text
from scipy.stats import chi2

from operant.algorithms.policy.reinforce import REINFORCE
from operant.contracts import Clock, Context, Episodes, Spec, Step, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.environments import Compiled, Host
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.optimisers import SGD
from operant.parts.schedules import Linear
from tests.probes import ActionOnly, as_gymnasium

STATES, EPISODES, LIMIT, SHORT, WINDOWS, SLIP = 3, 4, 128, 8, 4000, 0.2
SPEC = Spec(Box(-np.inf, np.inf, (STATES,), np.float32), Discrete(2), EPISODES, LIMIT)
PLAIN = REINFORCE(
    learning_rate=0.1, discount=1.0, entropy_coefficient=0.0, baseline=False, network=MLP(()), optimiser=SGD()
)
BASELINE = dataclasses.replace(PLAIN, baseline=True)
WEIGHT = jnp.array([[0.3, -0.4], [-0.5, 0.2], [0.1, 0.4]])
BIAS = jnp.array([0.1, -0.2])


def context(progress=0.0):
    return Context(SPEC, Clock(jnp.int32(0), jnp.float32(progress)))


def policy_of(algorithm):
    """A softmax-linear policy over one-hot states, far enough from uniform."""
    state = algorithm.init(jax.random.key(0), SPEC)
    parts = lambda actor: (actor.network.head.weight, actor.network.head.bias)  # noqa: E731
    return state._replace(policy=eqx.tree_at(parts, state.policy, (WEIGHT, BIAS)))


def vector(actor):
    """What there is to estimate: the gradient in the weights of action 1 (action 0's is its negative)."""
    return actor.network.head.weight[..., 1]


@functools.partial(jax.jit, static_argnames="windows")
def played(policy, windows):
    """Windows `[windows, LIMIT, EPISODES]` of a slippery chain: action 1 goes up, the top ends it, a step costs 1."""
    wide = windows * EPISODES
    spec = dataclasses.replace(SPEC, num_envs=wide)

    def step(loop, inputs):
        position, alive = loop
        key, t = inputs
        key_act, key_slip = jax.random.split(key)
        observation = jax.nn.one_hot(position, STATES)
        _, action, _ = PLAIN.act(policy, (), observation, key_act, context()._replace(spec=spec), explore=True)
        up = (action == 1) ^ jax.random.bernoulli(key_slip, SLIP, (wide,))
        following = jnp.maximum(position + jnp.where(up, 1, -1), 0)
        terminated = following == STATES
        truncated = jnp.full(wide, t == LIMIT - 1) & ~terminated
        seen = jax.nn.one_hot(following, STATES)
        transition = Step(observation, action, -jnp.ones(wide), terminated, truncated, seen, ())
        return (jnp.where(terminated, 0, following), alive & ~terminated), (transition, alive)

    start = jnp.zeros(wide, jnp.int32), jnp.ones(wide, bool)
    keys = jax.random.split(jax.random.key(1), LIMIT)
    _, (steps, valid) = jax.lax.scan(step, start, (keys, jnp.arange(LIMIT)))
    split = lambda leaf: jnp.moveaxis(leaf.reshape(LIMIT, windows, EPISODES, *leaf.shape[2:]), 1, 0)  # noqa: E731
    steps, valid = jax.tree.map(split, (steps, valid))
    return Window(steps, (), jnp.tile(jnp.arange(EPISODES), (windows, 1)), jnp.zeros(windows, jnp.int32), valid)


@jax.jit
def gradients(algorithm, policy, windows):
    """Ascent directions `[windows, STATES]`, one of each window."""
    return -vector(jax.vmap(lambda window: algorithm.gradient(policy, window, context())[0])(windows))


@pytest.fixture(scope="module")
def policy():
    return policy_of(PLAIN).policy


@pytest.fixture(scope="module")
def windows(policy):
    return played(policy, WINDOWS)


@pytest.fixture(scope="module")
def estimates(policy, windows):
    return {
        name: np.asarray(gradients(algorithm, policy, windows), np.float64)
        for name, algorithm in (("plain", PLAIN), ("baseline", BASELINE))
    }


def exact_gradient():
    """Of the expected return -E[length] from state 0, through the solution of (I - P) v = -1."""

    def value(weight):
        up = jax.nn.softmax(weight + BIAS[None])[:, 1]
        up = up * (1 - SLIP) + (1 - up) * SLIP
        down = jnp.diag(1 - up[1:], -1).at[0, 0].set(1 - up[0])
        return jnp.linalg.solve(jnp.eye(STATES) - jnp.diag(up[:-1], 1) - down, -jnp.ones(STATES))[0]

    return np.asarray(jax.grad(value)(WEIGHT)[:, 1], np.float64)


def scores(samples, truth):
    """z of each component, and the chi-square statistic of all of them together."""
    error = samples.mean(axis=0) - truth
    covariance = np.cov(samples.T) / len(samples)
    return error / np.sqrt(np.diag(covariance)), error @ np.linalg.solve(covariance, error)


@pytest.mark.parametrize("name", ["plain", "baseline"])
def test_the_gradient_is_unbiased(estimates, name):
    z, together = scores(estimates[name], exact_gradient())
    assert np.abs(z).max() < 4 and together < chi2.ppf(0.9999, STATES)
    # The check has teeth: 10 % of the gradient would show.
    z, together = scores(1.1 * estimates[name], exact_gradient())
    assert np.abs(z).max() > 4 and together > chi2.ppf(0.9999, STATES)


def test_the_baseline_lowers_the_variance(estimates):
    assert estimates["baseline"].var(axis=0).sum() < 0.8 * estimates["plain"].var(axis=0).sum()


def test_dropping_unfinished_episodes_would_not_do(policy, windows):
    # The mutation that whole episodes are there to prevent: keep what ended within a short running window.
    steps = jax.tree.map(lambda leaf: leaf[:, :SHORT], windows.steps)
    finished = ~windows.valid[:, SHORT]
    masked = windows._replace(steps=steps, valid=windows.valid[:, :SHORT] & finished[:, None])
    count = np.asarray(finished.sum(axis=1))
    assert 0.1 < count.mean() / EPISODES < 0.9
    samples = np.asarray(gradients(PLAIN, policy, masked), np.float64)[count > 0]
    samples *= EPISODES / count[count > 0, None]
    z, together = scores(samples, exact_gradient())
    assert np.abs(z).max() > 20 and together > 20 * chi2.ppf(0.9999, STATES)


def test_episodes_do_outlast_the_short_window_and_none_the_limit(windows):
    lengths = np.asarray(windows.valid.sum(axis=1))
    assert np.mean(lengths > SHORT) > 0.3 and np.mean(lengths == LIMIT) < 1e-3


GENERAL = dataclasses.replace(BASELINE, discount=0.9, entropy_coefficient=0.3)


@pytest.fixture(scope="module")
def window(windows):
    """One window with rewards that differ from step to step."""
    one = jax.tree.map(lambda leaf: leaf[0], windows)
    reward = jax.random.normal(jax.random.key(2), one.steps.reward.shape) * one.valid
    return one._replace(steps=one.steps._replace(reward=reward))


@jax.jit
def gradient(algorithm, policy, window):
    return algorithm.gradient(policy, window, context())


def reference(window, discount, entropy_coefficient, baseline):
    """The gradient of the loss in weight and bias, written out in float64; the entropy metric."""
    position = np.asarray(window.steps.observation).argmax(axis=-1)
    action, reward = np.asarray(window.steps.action), np.asarray(window.steps.reward, np.float64)
    lengths = np.asarray(window.valid).sum(axis=0)
    to_go = np.zeros_like(reward)
    for e, length in enumerate(lengths):
        for t in range(length):
            to_go[t, e] = sum(discount ** (k - t) * reward[k, e] for k in range(t, length))
    logits = np.asarray(WEIGHT, np.float64) + np.asarray(BIAS, np.float64)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    entropy = -(probs * np.log(probs)).sum(axis=1)
    by_logits, total = np.zeros_like(logits), 0.0
    for e, length in enumerate(lengths):
        for t in range(length):
            s, others = position[t, e], [to_go[t, o] for o in range(EPISODES) if o != e]
            advantage = to_go[t, e] - (np.mean(others) if baseline else 0.0)
            by_logits[s] -= advantage * (np.eye(2)[action[t, e]] - probs[s])
            by_logits[s] += entropy_coefficient * probs[s] * (np.log(probs[s]) + entropy[s])
            total += entropy[s]
    return by_logits / EPISODES, by_logits.sum(axis=0) / EPISODES, total / lengths.sum()


@pytest.mark.parametrize("baseline", [False, True])
def test_the_gradient_is_that_of_returns_to_go_and_entropy(policy, window, baseline):
    actor, metrics = gradient(dataclasses.replace(GENERAL, baseline=baseline), policy, window)
    weight, bias, entropy = reference(window, 0.9, 0.3, baseline)
    np.testing.assert_allclose(actor.network.head.weight, weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actor.network.head.bias, bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-5)


def test_what_follows_the_end_does_not_count(policy, window):
    expected = gradient(GENERAL, policy, window)

    def litter(leaf, junk):
        outside = ~window.valid.reshape(*window.valid.shape, *[1] * (leaf.ndim - 2))
        return jnp.where(outside, jnp.asarray(junk, leaf.dtype), leaf)

    steps = window.steps
    garbage = steps._replace(
        observation=litter(steps.observation, 7.0), action=litter(steps.action, 1), reward=litter(steps.reward, 1e3),
        terminated=litter(steps.terminated, True), truncated=litter(steps.truncated, True),
        next_observation=litter(steps.next_observation, -7.0),
    )  # fmt: skip
    littered = gradient(GENERAL, policy, window._replace(steps=garbage))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(littered), strict=True):
        np.testing.assert_array_equal(a, b)
    counted = garbage._replace(reward=steps.reward.at[0, 0].add(1.0))
    changed = gradient(GENERAL, policy, window._replace(steps=counted))[0]
    assert np.abs(vector(changed) - vector(expected[0])).max() > 1e-3


@jax.jit
def learn(algorithm, state, window, progress):
    return algorithm.learn(state, window, jax.random.key(0), context(progress))


def test_learning_descends_the_gradient_by_the_learning_rate(window):
    state = policy_of(GENERAL)
    direction, _ = gradient(GENERAL, state.policy, window)
    after, metrics = learn(GENERAL, state, window, 0.0)
    for old, g, new in zip(*map(jax.tree.leaves, (state.policy, direction, after.policy)), strict=True):
        np.testing.assert_allclose(new, old - 0.1 * g, rtol=1e-5, atol=1e-6)
    norm = np.sqrt(sum(np.square(np.asarray(g, np.float64)).sum() for g in jax.tree.leaves(direction)))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)


def test_schedules_go_by_the_clock(window):
    falling = dataclasses.replace(GENERAL, entropy_coefficient=Linear(0.4, 0.0), learning_rate=Linear(0.2, -0.2))
    state = policy_of(GENERAL)
    later, constant = learn(falling, state, window, 0.25)[0], learn(GENERAL, state, window, 0.0)[0]
    for one, other in zip(jax.tree.leaves(later.policy), jax.tree.leaves(constant.policy), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_defaults_are_the_references():
    told = REINFORCE()
    assert (told.learning_rate, told.discount, told.baseline) == (2e-3, 0.99, True)
    assert told.entropy_coefficient == Linear(0.001, 0.0)


def test_the_entropy_bonus_raises_entropy(window):
    silent = window._replace(steps=window.steps._replace(reward=jnp.zeros_like(window.steps.reward)))
    first, before = learn(GENERAL, policy_of(GENERAL), silent, 0.0)
    _, after = learn(GENERAL, first, silent, 0.0)
    assert after["entropy"] > before["entropy"] + 1e-3


def test_greedy_actions_are_the_most_likely(policy):
    observation = jnp.eye(STATES)[jnp.arange(EPISODES) % STATES]
    _, action, extras = PLAIN.act(policy, (), observation, jax.random.key(0), context(), explore=False)
    np.testing.assert_array_equal(action, np.asarray(WEIGHT + BIAS[None]).argmax(axis=1)[np.arange(EPISODES) % STATES])
    assert extras == ()


def test_windows_are_whole_episodes_and_need_a_time_limit():
    assert PLAIN.window() == Episodes()

    class Endless(ActionOnly):
        default_params = None

    with pytest.raises(OperantError, match="time limit"):
        CompiledDriver(PLAIN, Compiled(Endless()), 2)
    host = Host([as_gymnasium(ActionOnly)] * 2)
    host.time_limit = None
    with pytest.raises(OperantError, match="time limit"):
        HostDriver(PLAIN, host)


def test_actions_without_a_distribution_are_refused():
    with pytest.raises(OperantError, match="not served"):
        PLAIN.check(dataclasses.replace(SPEC, action_space=Text(3)))


def test_actions_without_bounds_are_refused():
    with pytest.raises(OperantError, match="without bounds have no scale"):
        PLAIN.check(dataclasses.replace(SPEC, action_space=Box(-np.inf, np.inf, (2,), np.float32)))


def test_no_two_arrays_of_a_fresh_state_share_a_buffer():
    leaves = jax.tree.leaves(GENERAL.init(jax.random.key(0), SPEC))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
