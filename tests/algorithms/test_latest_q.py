"""Deep SARSA, Deep Monte-Carlo and PQN: targets and gradients against their definitions, in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.value.deep_mc import DeepMC
from operant.algorithms.value.deep_sarsa import DeepSARSA
from operant.algorithms.value.pqn import PQN
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.errors import OperantError
from operant.parts.exploration import Boltzmann, EpsilonGreedy
from operant.parts.networks import GRU, MLP, Dueling, LayerNorm, MinAtarCNN, Noisy
from operant.parts.networks.layer_norm import SMALLEST
from tests.algorithms.support import Recording

LENGTH, ENVS, ACTIONS, DISCOUNT = 5, 2, 3, 0.9
ROWS = LENGTH * ENVS
TERMINATED = np.array([[0, 0], [1, 0], [0, 0], [0, 0], [0, 1]], bool)
TRUNCATED = np.array([[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]], bool)
SPEC = Spec(Box(-np.inf, np.inf, (2 * ROWS,), np.float32), Discrete(ACTIONS), ENVS, time_limit=LENGTH)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0)))
KEY = jax.random.key(0)
PLAIN = {"learning_rate": 0.0, "discount": DISCOUNT, "network": MLP(()), "max_gradient_norm": None}
sarsa = DeepSARSA(num_steps=LENGTH, exploration=Boltzmann(0.5), optimiser=Recording(1), **PLAIN)
pqn = PQN(num_steps=LENGTH, num_epochs=1, num_minibatches=1, trace_decay=0.7, optimiser=Recording(1), **PLAIN)
monte_carlo = DeepMC(num_epochs=1, num_minibatches=1, exploration=EpsilonGreedy(0.3), optimiser=Recording(1), **PLAIN)


@functools.cache
def window(episodic=False):
    """Every step has an observation of its own; within an episode what follows is the next step's."""
    rng = np.random.default_rng(0)
    identity = np.eye(2 * ROWS, dtype=np.float32)
    shape = LENGTH, ENVS
    observation, following = identity[:ROWS].reshape(*shape, -1), identity[ROWS:].reshape(*shape, -1).copy()
    last = TERMINATED | TRUNCATED
    following[:-1] = np.where(last[:-1, :, None], following[:-1], observation[1:])
    action = rng.integers(0, ACTIONS, shape).astype(np.int32)
    steps = Step(observation, action, rng.normal(size=shape).astype(np.float32), TERMINATED, TRUNCATED, following, ())
    valid = np.cumsum(np.vstack([np.zeros((1, ENVS), bool), last[:-1]]), axis=0) == 0 if episodic else None
    return jax.tree.map(jnp.asarray, Window(steps, (), np.arange(ENVS), np.int32(0), valid))


@functools.cache
def fresh(algorithm):
    return jax.jit(lambda: algorithm.init(KEY, SPEC))()


def values(algorithm, observation):
    """Q `[T, B, A]` in float64."""
    head = fresh(algorithm).policy.head
    table = np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64)
    return np.asarray(observation) @ table


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_sarsa_follows_the_actions_that_were_taken_and_draws_where_none_was():
    seen, state = window(), fresh(sarsa)
    steps = seen.steps
    targets = jax.jit(lambda key: sarsa.targets(state, seen, key, CONTEXT)[1])
    drawn = np.stack([targets(key) for key in jax.random.split(KEY, 60)])
    following, reward = values(sarsa, steps.next_observation), np.asarray(steps.reward)
    for t in range(LENGTH):
        for e in range(ENVS):
            seen = drawn[:, t, e]
            if TERMINATED[t, e]:
                np.testing.assert_allclose(seen, reward[t, e], rtol=1e-6)
            elif TRUNCATED[t, e] or t == LENGTH - 1:
                choices = reward[t, e] + DISCOUNT * following[t, e]
                which = np.abs(seen[:, None] - choices).argmin(-1)
                np.testing.assert_allclose(seen, choices[which], rtol=1e-5, atol=1e-6)
                assert len(set(which)) == ACTIONS
            else:
                value = following[t, e, steps.action[t + 1, e]]
                np.testing.assert_allclose(seen, reward[t, e] + DISCOUNT * value, rtol=1e-5, atol=1e-6)


def test_expected_sarsa_has_the_rules_mean():
    algorithm = dataclasses.replace(sarsa, expected=True)
    seen, state = window(), fresh(algorithm)
    steps = seen.steps
    found = jax.jit(lambda: algorithm.targets(state, seen, KEY, CONTEXT)[1])()
    following = values(algorithm, steps.next_observation)
    mean = (softmax(following / 0.5) * following).sum(-1)
    np.testing.assert_allclose(found, steps.reward + DISCOUNT * ~TERMINATED * mean, rtol=1e-5, atol=1e-6)


def test_pqn_has_lambda_returns_of_the_best_actions():
    seen, state = window(), fresh(pqn)
    steps = seen.steps
    found = jax.jit(lambda: pqn.returns(state, seen, CONTEXT)[1])()
    best, reward = values(pqn, steps.next_observation).max(-1), np.asarray(steps.reward, np.float64)
    expected = np.zeros((LENGTH, ENVS))
    for e in range(ENVS):
        for t in reversed(range(LENGTH)):
            onward = best[t, e]
            if not (TERMINATED | TRUNCATED)[t, e] and t < LENGTH - 1:
                onward = 0.3 * best[t, e] + 0.7 * expected[t + 1, e]
            expected[t, e] = reward[t, e] + DISCOUNT * (not TERMINATED[t, e]) * onward
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", [sarsa, pqn, monte_carlo], ids=["deep-sarsa", "pqn", "deep-mc"])
def test_the_gradient_is_that_of_the_errors_of_the_steps_that_count(algorithm):
    episodic = algorithm is monte_carlo
    seen = window(episodic)
    steps, valid = seen.steps, np.asarray(seen.valid) if episodic else np.ones((LENGTH, ENVS), bool)
    state = fresh(algorithm)
    if algorithm is sarsa:
        target = np.asarray(algorithm.targets(state, seen, KEY, CONTEXT)[1])
    elif algorithm is pqn:
        target = np.asarray(algorithm.returns(state, seen, CONTEXT)[1])
    else:
        following = values(algorithm, steps.next_observation)
        policy = 0.1 + 0.7 * np.eye(ACTIONS)[following.argmax(-1)]
        bootstrap, target = (policy * following).sum(-1), np.zeros((LENGTH, ENVS))
        for e in range(ENVS):  # an episode's return, which ends with a value where it was cut
            end = int(np.flatnonzero((TERMINATED | TRUNCATED)[:, e])[0])
            tail = 0.0 if TERMINATED[end, e] else bootstrap[end, e]
            for t in reversed(range(end + 1)):
                tail = target[t, e] = float(steps.reward[t, e]) + DISCOUNT * tail
        assert valid.sum() == 5 and not TERMINATED[2, 1]
    new, metrics = jax.jit(lambda state: algorithm.learn(state, seen, KEY, CONTEXT))(state)
    value = np.take_along_axis(values(algorithm, steps.observation), np.asarray(steps.action)[..., None], -1)[..., 0]
    error = np.where(valid, target - value, 0.0)
    expected = np.zeros((2 * ROWS, ACTIONS))
    expected[np.arange(ROWS), np.asarray(steps.action).ravel()] = -error.ravel() / valid.sum()
    np.testing.assert_allclose(new.optimiser[1].head.weight[0], expected, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], (0.5 * error**2).sum() / valid.sum(), rtol=1e-5)


def test_layers_are_normalised_before_their_activation():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    body, plain = (jax.jit(lambda r=r: r(KEY, (6,)))() for r in (LayerNorm(MLP((8,), "relu")), MLP((8,), "relu")))
    z = np.asarray(x, np.float64) @ np.asarray(plain.layers[0].weight, np.float64)
    z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + SMALLEST)
    np.testing.assert_allclose(jax.vmap(body)(x), np.maximum(z, 0), atol=1e-5)
    gradient = jax.grad(lambda body: jnp.sum(jax.vmap(body)(x) ** 2))(body)
    assert np.any(gradient.layers[0].scale) and np.any(gradient.layers[0].shift)
    assert jax.eval_shape(lambda: LayerNorm(MinAtarCNN(2, (4,)))(KEY, (5, 5, 1))).convolutions[0].scale.shape == (2,)


def test_check_says_what_is_wrong():
    for algorithm, words in (
        (PQN(num_steps=5, num_minibatches=4), "10 steps x environments cannot be cut into 4"),
        (DeepMC(num_minibatches=4), "10 steps of 2 episodes of at most 5 cannot be cut into 4"),
        (DeepSARSA(network=GRU(4, (4,))), "memory"),
        (DeepSARSA(network=Noisy(MLP(()))), "explores by its rule"),
        (PQN(trace_decay=1.5), "trace_decay"),
    ):
        with pytest.raises(OperantError, match=words):
            algorithm.check(SPEC)
    for algorithm in (sarsa, pqn, monte_carlo):
        algorithm.check(SPEC)
        with pytest.raises(OperantError, match="needs Discrete actions"):
            algorithm.check(dataclasses.replace(SPEC, action_space=Box(-1, 1, (2,))))
    with pytest.raises(OperantError, match="LayerNorm goes inside a Dueling network"):
        LayerNorm(Dueling(MLP(())))(KEY, (3,))
