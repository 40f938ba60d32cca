"""A3C's halves: together they are A2C's update; stale gradients; V-trace against its definition in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import log_softmax

from operant.algorithms.policy.a2c import A2C
from operant.algorithms.policy.a3c import A3C
from operant.contracts import Asynchronous, Spec
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.optimisers import SGD
from tests.algorithms.test_a2c import CONTEXT, ENVS, LENGTH, SPEC, TERMINATED, TRUNCATED, problem

TOGETHER = A2C(discount=0.9, network=MLP(()))
ALONE = A3C(discount=0.9, network=MLP(()), num_actors=1)
OFF = A3C(discount=0.9, network=MLP(()), normalise=(), correction="vtrace", entropy_coefficient=0.0)


@jax.jit
def halves(algorithm, state, window, later):
    """`(noted, gradient, applied to it, applied to a later state)`."""
    noted, gradient, _ = algorithm.gradient(state, window, jax.random.key(0), CONTEXT)
    return noted, gradient, algorithm.apply(noted, gradient, CONTEXT)[0], algorithm.apply(later, gradient, CONTEXT)[0]


def by_another(window):
    """`window` as if a policy with other probabilities had acted."""
    shift = np.random.default_rng(1).normal(size=(LENGTH, ENVS))
    return window._replace(steps=window.steps._replace(extras=window.steps.extras + jnp.float32(shift)))


def test_gradient_and_apply_are_a2cs_learn():
    state, window = problem(ALONE)
    noted, _, applied, _ = halves(ALONE, state, window, state)
    learned, _ = jax.jit(lambda *args: TOGETHER.learn(*args, jax.random.key(0), CONTEXT))(state, window)
    for x, y in zip(jax.tree.leaves(applied), jax.tree.leaves(learned), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)
    # The first half leaves statistics, not networks.
    for x, y in zip(*map(jax.tree.leaves, ((noted.policy, noted.critic), (state.policy, state.critic))), strict=True):
        np.testing.assert_array_equal(x, y)
    assert float(noted.scale.count) == LENGTH * ENVS and float(state.scale.count) == 0.0


def test_a_stale_gradient_moves_the_newer_networks():
    algorithm = dataclasses.replace(ALONE, optimiser=SGD(), learning_rate=0.1, max_gradient_norm=None)
    state, window = problem(algorithm)
    later = state._replace(critic=jax.tree.map(lambda leaf: leaf + 1.0, state.critic))
    _, gradient, _, moved = halves(algorithm, state, window, later)
    old, new = (np.asarray(ravel_pytree((s.policy.actor, s.critic))[0], np.float64) for s in (later, moved))
    np.testing.assert_allclose(new, old - 0.1 * np.asarray(gradient, np.float64), rtol=1e-5, atol=1e-6)


def test_it_is_asynchronous_and_a2c_is_not():
    assert isinstance(A3C(), Asynchronous) and not isinstance(A2C(), Asynchronous)


def test_vtrace_of_the_policy_that_acted_is_no_correction():
    state, window = problem(OFF)
    plain = dataclasses.replace(OFF, correction="none")
    expected, found = (halves(algorithm, state, window, state)[1] for algorithm in (plain, OFF))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    changed = halves(OFF, state, by_another(window), state)[1]
    assert np.abs(np.asarray(changed - expected)).max() > 1e-2


def test_vtrace_is_its_definition():
    """Espeholt et al. 2018, equation 1 and the gradient of section 4.2, term by term, with a linear actor."""
    state, window = problem(OFF)
    window = by_another(window)
    head, critic = state.policy.actor.network.head, state.critic.head
    x, following = (np.asarray(o, np.float64) for o in (window.steps.observation, window.steps.next_observation))
    values, after = (
        (o @ np.asarray(critic.weight, np.float64) + np.asarray(critic.bias))[..., 0] for o in (x, following)
    )
    log_probs = log_softmax(x @ np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64), axis=-1)
    action, reward = np.asarray(window.steps.action), np.asarray(window.steps.reward, np.float64)
    taken = np.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]
    ratio = np.exp(taken - np.asarray(window.steps.extras, np.float64))
    assert ratio.min() < 0.7 and ratio.max() > 1.5
    last, onward = TERMINATED | TRUNCATED, 0.9 * ~TERMINATED
    target, advantage = np.zeros_like(reward), np.zeros_like(reward)
    for e in range(ENVS):
        for t in range(LENGTH):
            total, trace = values[t, e], 1.0
            for s in range(t, LENGTH):
                delta = reward[s, e] + onward[s, e] * after[s, e] - values[s, e]
                total += trace * min(1.0, ratio[s, e]) * delta
                trace *= 0.9 * min(1.0, ratio[s, e])
                if last[s, e]:
                    break
            target[t, e] = total
        for t in range(LENGTH):
            inside = t + 1 < LENGTH and not last[t, e]
            v = target[t + 1, e] if inside else after[t, e]
            advantage[t, e] = min(1.0, ratio[t, e]) * (reward[t, e] + onward[t, e] * v - values[t, e])
    push = -advantage[..., None] * (np.eye(log_probs.shape[-1])[action] - np.exp(log_probs)) / reward.size
    expected = [
        np.einsum("tei,tea->ia", x, push),
        push.sum(axis=(0, 1)),
        0.5 * np.einsum("tei,te->i", x, values - target)[:, None] / reward.size,
        0.5 * np.sum(values - target, keepdims=True)[0] / reward.size,
    ]
    _, unravel = ravel_pytree((state.policy.actor, state.critic))
    actor, judge = unravel(halves(OFF, state, window, state)[1])
    found = [actor.network.head.weight, actor.network.head.bias, judge.head.weight, judge.head.bias]
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-6)


def test_what_makes_no_sense_is_refused():
    spec = Spec(SPEC.observation_space, SPEC.action_space, 4)
    for fields, words in (
        ({"num_actors": 0}, "num_actors"),
        ({"correction": "retrace"}, "unknown correction 'retrace'"),
        ({"correction": "vtrace", "gae_lambda": 0.9}, "V-trace has no lambda"),
    ):
        with pytest.raises(OperantError, match=words):
            dataclasses.replace(ALONE, **fields).check(spec)
