"""The deterministic actor-critic: one update against its equations in float64, and a world that it solves."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.policy.dpg import DPG, mu
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.core.drivers.loop import severed
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.optimisers import SGD
from tests.algorithms.test_probes import trained
from tests.probes import ContinuousAction

LENGTH, ENVS, FEATURES, ACTIONS = 4, 3, 3, 2
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Box(-1, 1, (ACTIONS,), np.float32), ENVS)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.0)))
LINEAR = DPG(
    learning_rate=0.1, critic_learning_rate=0.2, discount=0.9, num_steps=LENGTH, num_epochs=1, num_minibatches=1,
    max_gradient_norm=None, network=MLP(()), critic=MLP(()), optimiser=SGD(),
)  # fmt: skip
rng = np.random.default_rng(5)


def window():
    draw = lambda *shape: jnp.asarray(rng.normal(size=(LENGTH, ENVS, *shape)), jnp.float32)  # noqa: E731
    ends = np.zeros((2, LENGTH, ENVS), bool)
    ends[0, 1, 0] = ends[1, 2, 1] = True  # terminated, truncated
    action = jnp.clip(draw(ACTIONS), -1.0, 1.0)
    steps = Step(draw(FEATURES), action, draw(), *map(jnp.asarray, ends), draw(FEATURES), ())
    return Window(steps, (), jnp.arange(ENVS), jnp.int32(0))


def test_one_update_is_the_equations():
    seen, state = window(), LINEAR.init(jax.random.key(0), SPEC)
    weights = jnp.asarray(rng.normal(size=(FEATURES, ACTIONS)), jnp.float32)
    state = eqx.tree_at(lambda s: s.policy.head.weight, state, weights)
    after, metrics = LINEAR.learn(state, seen, jax.random.key(1), CONTEXT)

    x, a, r, following = (
        np.asarray(each, np.float64)
        for each in (seen.steps.observation, seen.steps.action, seen.steps.reward, seen.steps.next_observation)
    )
    terminated, ended = np.asarray(seen.steps.terminated), np.asarray(seen.steps.last)
    running, returns = np.zeros(ENVS), np.zeros((LENGTH, ENVS))
    for t in range(LENGTH):
        returns[t] = running = 0.9 * running + r[t]
        running = np.where(ended[t], 0.0, running)
    r = r / returns.std()
    theta, w = np.asarray(weights, np.float64), np.asarray(state.critic.head.weight, np.float64)[:, 0]
    q = lambda x, a: np.concatenate([x, a], axis=-1) @ w  # noqa: E731
    delta = r + 0.9 * np.where(terminated, 0.0, q(following, np.tanh(following @ theta))) - q(x, a)
    inputs = np.concatenate([x, a], axis=-1).reshape(-1, FEATURES + ACTIONS)
    step = 0.2 * inputs.T @ delta.reshape(-1) / delta.size
    np.testing.assert_allclose(after.critic.head.weight[:, 0], w + step, rtol=1e-4, atol=1e-5)
    # grad_a Q is the critic's weights of the action; grad mu is what tanh leaves of each feature.
    slope = (1 - np.tanh(x @ theta) ** 2) * w[FEATURES:]
    step = 0.1 * x.reshape(-1, FEATURES).T @ slope.reshape(-1, ACTIONS) / delta.size
    np.testing.assert_allclose(after.policy.head.weight, theta + step, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["value_loss"], np.mean(delta**2) / 2, rtol=1e-4)
    np.testing.assert_allclose(after.carried, running, rtol=1e-5)


def test_an_episode_that_is_cut_by_hand_ends_its_running_returns():
    first, second = window(), window()
    after, _ = LINEAR.learn(LINEAR.init(jax.random.key(0), SPEC), first, jax.random.key(1), CONTEXT)
    assert np.abs(after.carried).min() > 1e-3
    alone, _ = LINEAR.learn(LINEAR.init(jax.random.key(0), SPEC), second, jax.random.key(1), CONTEXT)
    anew, _ = LINEAR.learn(severed(after), second, jax.random.key(1), CONTEXT)
    np.testing.assert_array_equal(anew.carried, alone.carried)


def test_exploring_adds_noise_that_ends_at_the_bounds_and_greedy_acting_none():
    state, observation = LINEAR.init(jax.random.key(0), SPEC), jnp.ones((500, FEATURES))
    act = lambda noise, explore: replace(LINEAR, noise=noise).act(  # noqa: E731
        state.policy, (), observation, jax.random.key(2), CONTEXT, explore=explore
    )[1]
    greedy, narrow, wide = act(0.1, False), act(0.1, True), act(50.0, True)
    np.testing.assert_array_equal(greedy, mu(state.policy, observation))
    assert abs(np.std(narrow - greedy) - 0.1) < 0.01
    assert np.mean(np.abs(wide) == 1.0) > 0.9 and np.abs(wide).max() == 1.0


def test_it_solves_the_continuous_probe():
    algorithm = DPG(learning_rate=3e-3, critic_learning_rate=3e-3, network=MLP((32,), "tanh"))
    _, state = trained(algorithm, ContinuousAction, iterations=250)
    cues = jnp.array([[-1.0], [1.0]])
    np.testing.assert_allclose(mu(state.policy, cues), cues / 2, atol=0.05)  # of bounds that are 2 wide


@pytest.mark.parametrize(
    ("change", "spec", "words"),
    [
        ({}, replace(SPEC, action_space=Discrete(3)), "needs continuous actions"),
        ({}, replace(SPEC, action_space=Box(-np.inf, np.inf, (2,))), "without bounds have no scale"),
        ({}, replace(SPEC, observation_space=Box(0, 255, (8, 8, 3), np.uint8)), "no images, no memory"),
        ({"network": GRU(8)}, SPEC, "no images, no memory"),
        ({"critic": GRU(8)}, SPEC, "no images, no memory"),
        ({"num_minibatches": 5}, SPEC, "12 steps x environments cannot be cut into 5"),
        ({"noise": -0.1}, SPEC, "noise must be at least 0"),
        ({"discount": 1.5}, SPEC, "discount must be between"),
    ],
)
def test_what_it_cannot_serve_is_refused(change, spec, words):
    with pytest.raises(OperantError, match=words):
        replace(LINEAR, **change).check(spec)
