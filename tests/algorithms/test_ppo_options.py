"""PPO's options, each against its definition in float64, on linear networks whose gradients are written by hand."""

import dataclasses
import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from jax.flatten_util import ravel_pytree
from scipy.special import log_softmax
from scipy.stats import norm

from operant.algorithms.policy.ppo import PPO
from operant.contracts import Clock, Context, Spec
from operant.errors import OperantError
from operant.parts.component import check_fields
from operant.parts.describe import build, fields_of
from operant.parts.networks import GRU, MLP
from operant.parts.networks.critics import Separate, Shared
from operant.parts.networks.spreads import Independent, StateDependent
from operant.parts.optimisers import Adam
from operant.parts.policies.penalties import AdaptiveKL
from operant.parts.schedules import Linear
from tests.algorithms.support import Recording, random_window, references

FEATURES, LENGTH, ENVS, ACTIONS = 3, 5, 4, 3
SIZE, DISCOUNT, TRACE = LENGTH * ENVS, 0.9, 0.8
TERMINATED = np.zeros((LENGTH, ENVS), bool)
TRUNCATED = np.zeros((LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = TERMINATED[4, 2] = True  # the last column ends nowhere
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Discrete(ACTIONS), ENVS)
RATE = 0.5
# Two updates by plain descent, each from the whole window.
PLAIN = PPO(
    learning_rate=RATE, discount=DISCOUNT, gae_lambda=TRACE, entropy_coefficient=0.0, value_coefficient=0.7,
    max_gradient_norm=1e9, num_steps=LENGTH, num_epochs=2, num_minibatches=1, normalise=(), network=MLP(()),
    optimiser=Recording(2),
)  # fmt: skip


@functools.partial(jax.jit, static_argnames="spec")
def learned(algorithm, state, window, spec=SPEC):
    return algorithm.learn(state, window, jax.random.key(0), Context(spec, Clock(jnp.int32(0), jnp.float32(0.25))))


def problem(algorithm, seed=0):
    """A state with a policy and values far from nothing, and a window whose stored log-probabilities are off."""
    rng = np.random.default_rng(seed)
    state = jax.jit(lambda key: algorithm.init(key, SPEC))(jax.random.key(seed))
    moved = lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    actor, critic = jax.tree.map(moved, (state.policy.actor, state.critic))
    window = random_window(rng, actor, SPEC.action_space, FEATURES, TERMINATED, TRUNCATED)
    off = jnp.float32(rng.normal(size=(LENGTH, ENVS)) * 0.3)
    window = window._replace(steps=window.steps._replace(extras=window.steps.extras + off))
    return state._replace(policy=state.policy._replace(actor=actor), critic=critic), window


def recorded(state):
    """The gradients of both updates, as `(actor, critic)`."""
    _, unravel = ravel_pytree((state.policy.actor, state.critic))
    return [unravel(gradient) for gradient in state.optimiser[1]]


def arrays(window):
    steps = window.steps
    wide = [np.asarray(o, np.float64).reshape(SIZE, -1) for o in (steps.observation, steps.next_observation)]
    return *wide, np.asarray(steps.action).reshape(-1), np.asarray(steps.extras, np.float64).reshape(-1)


def linear(head, x):
    return x @ np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64)


def targets_of(critic, window):
    """Advantages and value targets `[SIZE]` by a linear critic."""
    x, following, *_ = arrays(window)
    values, after = (linear(critic.head, o)[:, 0].reshape(LENGTH, ENVS) for o in (x, following))
    return [part.reshape(-1) for part in references(window, values, after, DISCOUNT, TRACE)]


def after_one(state, gradient):
    """The critic after one plain step."""
    return jax.tree.map(lambda p, g: p - RATE * g, state.critic, gradient[1])


def test_values_gain_nothing_by_leaving_the_old_ones_further_than_the_clip():
    state, window = problem(PLAIN)
    first, second = recorded(learned(dataclasses.replace(PLAIN, critic=Separate(clip=0.3)), state, window)[0])
    x, old = arrays(window)[0], linear(state.critic.head, arrays(window)[0])[:, 0]
    target = targets_of(state.critic, window)[1]
    new = linear(after_one(state, first).head, x)[:, 0]
    near = old + np.clip(new - old, -0.3, 0.3)
    held = (near - target) ** 2 > (new - target) ** 2  # the clipped loss is the larger one, and constant
    assert held.any() and (~held & (np.abs(new - old) > 0.3)).any() and (np.abs(new - old) < 0.3).any()
    error = np.where(held, 0.0, new - target)
    np.testing.assert_allclose(second[1].head.weight[:, 0], 0.7 * x.T @ error / SIZE, rtol=1e-4, atol=1e-6)
    free = recorded(learned(PLAIN, state, window)[0])
    np.testing.assert_array_equal(free[0][1].head.weight, first[1].head.weight)  # there is nothing to clip at first
    assert np.abs(np.asarray(free[1][1].head.weight - second[1].head.weight)).max() > 0.01


def test_the_penalty_is_equation_8_and_its_weight_follows_the_divergence():
    penalised = dataclasses.replace(PLAIN, clip=None, penalty=AdaptiveKL(target=0.05, beta=2.0))
    state, window = problem(penalised)
    assert float(state.beta) == 2.0
    after, metrics = learned(penalised, state, window)
    x, _, action, stored = arrays(window)
    advantage = targets_of(state.critic, window)[0]
    advantage = (advantage - advantage.mean()) / advantage.std()
    log_probs = log_softmax(linear(state.policy.actor.network.head, x), axis=1)
    ratio = np.exp(log_probs[np.arange(SIZE), action] - stored)
    push = (2.0 * (ratio - 1) - ratio * advantage)[:, None] * (np.eye(ACTIONS)[action] - np.exp(log_probs))
    np.testing.assert_allclose(recorded(after)[0][0].network.head.weight, x.T @ push / SIZE, rtol=1e-4, atol=1e-6)
    assert "clip_fraction" not in metrics
    # By the policy as it is after the window.
    log_probs = log_softmax(linear(after.policy.actor.network.head, x), axis=1)
    log_ratio = log_probs[np.arange(SIZE), action] - stored
    moved = np.mean(np.exp(log_ratio) - 1 - log_ratio)
    np.testing.assert_allclose(metrics["kl"], moved, rtol=1e-4)
    assert float(metrics["beta"]) == 2.0
    assert moved > 0.075 and float(after.beta) == 4.0
    easy = dataclasses.replace(penalised, penalty=AdaptiveKL(target=10.0, beta=2.0))
    assert float(learned(easy, state, window)[0].beta) == 1.0


@pytest.mark.parametrize(
    ("divergence", "factor"), [(0.0, 0.5), (0.99 / 1.5, 0.5), (1.01 / 1.5, 1), (1.49, 1), (1.51, 2)]
)
def test_beta_is_halved_kept_or_doubled(divergence, factor):
    assert AdaptiveKL(target=0.02).adapted(jnp.float32(3.0), jnp.float32(0.02 * divergence)) == 3.0 * factor


def test_an_optimiser_of_the_critics_own_has_its_rate_its_moments_and_its_bound():
    apart = dataclasses.replace(PLAIN, critic=Separate(learning_rate=0.05), max_gradient_norm=0.1)
    state, window = problem(apart)
    after, _ = learned(apart, state, window)
    pairs = (state.policy.actor, after.policy.actor), (state.critic, after.critic)
    for (begun, ended), (count, seen), rate in zip(pairs, after.optimiser, (RATE, 0.05), strict=True):
        assert int(count) == 2
        # Each half is bounded by itself.
        np.testing.assert_allclose(np.linalg.norm(np.asarray(seen, np.float64), axis=1), 0.1, rtol=1e-4)
        np.testing.assert_allclose(ravel_pytree(ended)[0], ravel_pytree(begun)[0] - rate * seen.sum(0), atol=1e-6)
    once = dataclasses.replace(apart, num_epochs=1, max_gradient_norm=1e9, optimiser=Recording(1))
    free, told = learned(once, problem(once)[0], window)
    halves = [np.linalg.norm(np.asarray(seen[0], np.float64)) for _, seen in free.optimiser]
    np.testing.assert_allclose(told["gradient_norm"], np.hypot(*halves), rtol=1e-5)


def test_two_optimisers_at_one_rate_are_one():
    one = dataclasses.replace(PLAIN, learning_rate=0.02, optimiser=Adam())
    two = dataclasses.replace(one, critic=Separate(learning_rate=0.02))
    (state, window), (other, _) = problem(one), problem(two)
    ours, theirs = learned(one, state, window)[0], learned(two, other, window)[0]
    for a, b in zip(*(jax.tree.leaves((s.policy.actor, s.critic)) for s in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("network", [MLP((4,)), pytest.param(GRU(4, (3,)), marks=pytest.mark.slow)], ids=["mlp", "gru"])
def test_a_shared_body_is_taught_by_both_losses(network):
    once = dataclasses.replace(PLAIN, num_epochs=1, network=network, optimiser=Recording(1))
    shared = dataclasses.replace(once, critic=Shared())
    state = jax.jit(lambda key: shared.init(key, SPEC))(jax.random.key(1))
    assert state.critic.parameters is None
    # The same two networks apart, the critic's body being a copy of the actor's.
    twin = jax.jit(lambda key: once.init(key, SPEC))(jax.random.key(1))
    body = state.policy.actor.network.parameters
    twin = twin._replace(policy=state.policy, critic=eqx.tree_at(lambda c: c.parameters, twin.critic, body))
    rng = np.random.default_rng(5)
    window = random_window(rng, problem(PLAIN)[0].policy.actor, SPEC.action_space, FEATURES, TERMINATED, TRUNCATED)
    window = window._replace(memory=state.policy.actor.network.start(ENVS))
    (together, ours), (apart, theirs) = learned(shared, state, window), learned(once, twin, window)
    for name in ("policy_loss", "value_loss", "explained_variance"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
    ((actor, critic),), ((of_policy, of_values),) = recorded(together), recorded(apart)
    both = jax.tree.map(jnp.add, of_policy.network.parameters, of_values.parameters)
    bodies = actor.network.parameters, both, of_policy.network.parameters
    for a, b, alone in zip(*map(jax.tree.leaves, bodies), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert np.abs(np.asarray(a - alone)).max() > 1e-4
    np.testing.assert_allclose(critic.head.weight, of_values.head.weight, rtol=1e-4, atol=1e-7)


def test_advantages_are_computed_anew_before_each_epoch():
    state, window = problem(PLAIN)
    first, second = recorded(learned(dataclasses.replace(PLAIN, recompute=True), state, window)[0])
    plain = recorded(learned(PLAIN, state, window)[0])
    np.testing.assert_allclose(first[1].head.weight, plain[0][1].head.weight, rtol=1e-5)
    x, new = arrays(window)[0], after_one(state, first)
    error = linear(new.head, x)[:, 0] - targets_of(new, window)[1]
    expected = 0.7 * x.T @ error / SIZE
    np.testing.assert_allclose(second[1].head.weight[:, 0], expected, rtol=1e-4, atol=1e-6)
    assert np.abs(np.asarray(plain[1][1].head.weight)[:, 0] - expected).max() > 0.01
    assert np.abs(np.asarray(plain[1][0].network.head.weight - second[0].network.head.weight)).max() > 1e-3


def test_the_spread_of_continuous_actions():
    space = Box(-1.0, 1.0, (2,), np.float32)
    spec = Spec(SPEC.observation_space, space, 200)
    features = jnp.float32(np.random.default_rng(0).normal(size=(200, FEATURES)))
    x, context = np.asarray(features, np.float64), Context(spec, Clock(jnp.int32(0), jnp.float32(0)))
    for spread in (Independent(-1.0), StateDependent(low=-0.5, high=0.7)):
        algorithm = dataclasses.replace(PLAIN, log_std=spread)
        state = jax.jit(lambda key, own=algorithm: own.init(key, spec))(jax.random.key(0))
        weight = lambda s: s.policy.actor.network.head.weight  # noqa: E731
        state = eqx.tree_at(weight, state, 100.0 * weight(state))
        act = jax.jit(functools.partial(algorithm.act, context=context), static_argnames="explore")
        _, action, stored = act(state.policy, (), features, jax.random.key(1), explore=True)
        outputs = linear(state.policy.actor.network.head, x)
        if isinstance(spread, Independent):
            assert outputs.shape == (200, 2) and np.all(np.asarray(state.policy.actor.log_std) == -1.0)
            mean, log_std = outputs, np.full((200, 2), -1.0)
        else:
            assert outputs.shape == (200, 4) and state.policy.actor.log_std is None
            mean, log_std = outputs[:, :2], np.clip(outputs[:, 2:], -0.5, 0.7)
            for bound in (-0.5, 0.7):
                assert 0 < (log_std == bound).mean() < 0.9
        expected = norm.logpdf(np.asarray(action), mean, np.exp(log_std)).sum(axis=1)
        np.testing.assert_allclose(stored, expected, rtol=1e-3, atol=1e-3)
        _, greedy, _ = act(state.policy, (), features, jax.random.key(1), explore=False)
        np.testing.assert_allclose(greedy, mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [
        (PPO(num_steps=30, num_minibatches=7), "120 steps x environments .* 7 equal minibatches: 6 or 8 would do"),
        (
            PPO(num_minibatches=8, network=GRU(4, (4,))),
            "4 environments .with memory .* 8 equal minibatches: 4 would do",
        ),
        (PPO(critic=Separate(learning_rate=-1.0)), "Separate's learning_rate must be at least 0"),
        (PPO(critic=Shared(clip=0.0)), "Shared's clip must be positive"),
        (PPO(penalty=AdaptiveKL(target=0.0)), "AdaptiveKL's target must be positive"),
        (PPO(clip=-0.1), "PPO's clip must be at least 0"),
        (PPO(critic=Separate(clip="wide")), "Separate's clip must be"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(algorithm, told):
    with pytest.raises(OperantError, match=told) as caught:
        check_fields(algorithm)
        algorithm.check(SPEC)
    assert "\n" not in str(caught.value)


def test_actions_without_bounds_are_refused():
    for low, high in ((-np.inf, np.inf), (-1.0, np.inf)):
        spec = Spec(SPEC.observation_space, Box(low, high, (2,), np.float32), ENVS)
        with pytest.raises(OperantError, match="actions without bounds have no scale"):
            PPO().check(spec)


def test_options_survive_a_file():
    chosen = PPO(clip=None, penalty=AdaptiveKL(0.02), critic=Shared(clip=0.3), recompute=True, log_std=StateDependent())
    assert build(PPO, json.loads(json.dumps(fields_of(chosen))), "here") == chosen
    assert build(PPO, fields_of(PPO(critic=Separate(Linear(1e-3, 0.0)))), "here").critic.learning_rate == Linear(
        1e-3, 0.0
    )
