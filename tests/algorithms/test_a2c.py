"""A2C and VPG, one update at a time, against the pseudocode in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from scipy.special import log_softmax

from operant.algorithms.policy.a2c import A2C
from operant.algorithms.policy.vpg import VPG
from operant.contracts import Clock, Context, Spec, Steps
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.optimisers import RMSProp
from operant.parts.schedules import Linear
from tests.algorithms.support import Recording, random_window, references

FEATURES, LENGTH, ENVS, ACTIONS = 3, 5, 4, 3
SIZE = LENGTH * ENVS
TERMINATED = np.zeros((LENGTH, ENVS), bool)
TRUNCATED = np.zeros((LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = TERMINATED[4, 2] = True  # the last column ends nowhere
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Discrete(ACTIONS), ENVS)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.25)))
PLAIN = A2C(discount=0.9, entropy_coefficient=0.2, value_coefficient=0.7, normalise=(), network=MLP(()))
SEPARATE = VPG(
    learning_rate=0.1, critic_learning_rate=0.05, discount=0.9, gae_lambda=0.8, num_steps=LENGTH, num_epochs=2,
    num_minibatches=1, normalise=(), network=MLP(()), optimiser=Recording(2),
)  # fmt: skip


def problem(algorithm, seed=0):
    """A fresh state with a policy far from uniform, and a window of it."""
    rng = np.random.default_rng(seed)
    state = jax.jit(lambda key: algorithm.init(key, SPEC))(jax.random.key(seed))
    actor = jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), state.policy.actor)
    window = random_window(rng, actor, SPEC.action_space, FEATURES, TERMINATED, TRUNCATED)
    return state._replace(policy=state.policy._replace(actor=actor)), window


@jax.jit
def learned(algorithm, state, window):
    return algorithm.learn(state, window, jax.random.key(0), CONTEXT)


def gradients(state, window, discount, trace, entropy_coefficient):
    """Of the losses in weight and bias of the actor and of the critic (coefficient 1), in float64; the metrics."""
    x, following = (np.asarray(o, np.float64) for o in (window.steps.observation, window.steps.next_observation))
    weight, bias = (np.asarray(p, np.float64) for p in (state.critic.head.weight, state.critic.head.bias))
    values, after = ((o @ weight + bias)[..., 0] for o in (x, following))
    if trace == 1.0:  # as the paper has it: R backwards from the end of the window or episode
        reward, target = np.asarray(window.steps.reward, np.float64), np.zeros((LENGTH, ENVS))
        for e in range(ENVS):
            for t in reversed(range(LENGTH)):
                ended = TRUNCATED[t, e] or t == LENGTH - 1
                onward = 0.0 if TERMINATED[t, e] else after[t, e] if ended else target[t + 1, e]
                target[t, e] = reward[t, e] + discount * onward
        advantage = target - values
    else:
        advantage, target = references(window, values, after, discount, trace)
    x, advantage, error = x.reshape(SIZE, -1), advantage.reshape(-1), (values - target).reshape(-1)
    head = state.policy.actor.network.head
    log_probs = log_softmax(x @ np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64), axis=1)
    action, probs = np.asarray(window.steps.action).reshape(-1), np.exp(log_probs)
    entropy = -(probs * log_probs).sum(axis=1)
    push = -advantage[:, None] * (np.eye(ACTIONS)[action] - probs)
    push += entropy_coefficient * probs * (log_probs + entropy[:, None])
    metrics = {
        "policy_loss": -np.mean(log_probs[np.arange(SIZE), action] * advantage),
        "value_loss": 0.5 * np.mean(error**2),
        "entropy": entropy.mean(),
        "explained_variance": 1 - np.var(error) / np.var(target),
    }
    actor = x.T @ push / SIZE, push.mean(axis=0)
    return actor, (x.T @ error[:, None] / SIZE, error.mean(keepdims=True)), metrics


def heads(state):
    actor, critic = state.policy.actor.network.head, state.critic.head
    return [np.asarray(leaf, np.float64) for leaf in (actor.weight, actor.bias, critic.weight, critic.bias)]


@pytest.mark.parametrize(("trace", "bound"), [(1.0, 1e9), (1.0, 0.05), (0.8, 0.5)])
def test_one_update_of_a2c_is_the_pseudocode(trace, bound):
    state, window = problem(PLAIN)
    # A quarter of training has passed: the bonus is at 0.2, the learning rate at three quarters.
    falling = Linear(0.25, 0.05)
    algorithm = dataclasses.replace(PLAIN, entropy_coefficient=falling, gae_lambda=trace, max_gradient_norm=bound)
    after, metrics = learned(algorithm, state, window)
    actor, critic, expected = gradients(state, window, 0.9, trace, 0.2)
    every = [*actor, *(0.7 * g for g in critic)]
    norm = np.sqrt(sum(np.square(g).sum() for g in every))
    assert norm > 0.5
    for name, value in (expected | {"gradient_norm": norm}).items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    rate = 7e-4 * 0.75
    for old, g, new in zip(heads(state), every, heads(after), strict=True):
        g = g * min(1.0, bound / norm)
        # The mean square starts at zero, and eps is under the root.
        np.testing.assert_allclose(new, old - rate * g / np.sqrt(0.01 * g**2 + 1e-5), rtol=1e-5, atol=1e-6)


def test_the_defaults_are_the_references():
    assert A2C().optimiser == RMSProp(decay=0.99, eps=1e-5) and A2C().window() == Steps(5) and A2C().gae_lambda == 1.0
    assert A2C().max_gradient_norm == 0.5


def test_one_update_of_vpg_moves_the_actor_once_and_the_critic_by_epochs():
    state, window = problem(SEPARATE)
    after, metrics = learned(SEPARATE, state, window)
    actor, critic, expected = gradients(state, window, 0.9, 0.8, 0.0)
    counts = [int(count) for count, _ in after.optimiser]
    assert counts == [1, 2]
    for name in ("policy_loss", "entropy", "explained_variance"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    before, new = heads(state), heads(after)
    for old, g, p in zip(before[:2], actor, new[:2], strict=True):
        np.testing.assert_allclose(p, old - 0.1 * g, rtol=1e-5, atol=1e-6)
    # The targets stay those of the critic before the update: a second epoch descends the same parabola.
    x = np.asarray(window.steps.observation, np.float64).reshape(SIZE, -1)
    inputs = np.concatenate([x, np.ones((SIZE, 1))], axis=1)
    slope, theta = np.concatenate([critic[0][:, 0], critic[1]]), np.zeros(FEATURES + 1)
    for _ in range(2):
        theta -= 0.05 * (slope + inputs.T @ (inputs @ theta) / SIZE)
    moved = np.concatenate([(new[2] - before[2])[:, 0], new[3] - before[3]])
    np.testing.assert_allclose(moved, theta, rtol=1e-4, atol=1e-6)


def test_memory_and_minibatches_are_refused_where_they_do_not_fit():
    with pytest.raises(OperantError, match=r"4 environments \(with memory .* cannot be cut into 8"):
        dataclasses.replace(SEPARATE, network=GRU(4, (4,)), num_minibatches=8).check(SPEC)
    dataclasses.replace(PLAIN, network=GRU(4, (4,))).check(SPEC)
    for fields, words in (
        ({"num_steps": 0}, "num_steps"),
        ({"gae_lambda": 1.1}, "gae_lambda"),
        ({"discount": 2.0}, "discount"),
    ):
        with pytest.raises(OperantError, match=words):
            dataclasses.replace(PLAIN, **fields).check(SPEC)
