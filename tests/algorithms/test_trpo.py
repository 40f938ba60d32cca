"""TRPO's step against dense matrices in float64, and its promises on a hundred random problems."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from jax.flatten_util import ravel_pytree
from scipy.special import log_softmax

from operant.algorithms.policy.trpo import TRPO, conjugate_gradients, fisher_product
from operant.contracts import Clock, Context, Spec
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.schedules import Linear
from tests.algorithms.support import Recording, random_window, references

FEATURES, LENGTH, ENVS, ACTIONS, PROBLEMS = 3, 6, 4, 3, 100
SIZE = LENGTH * ENVS
TERMINATED = np.zeros((LENGTH, ENVS), bool)
TRUNCATED = np.zeros((LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = True
SPACES = {"discrete": Discrete(ACTIONS), "continuous": Box(-1.0, 1.0, (2,), np.float32)}
SPECS = {name: Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), space, ENVS) for name, space in SPACES.items()}
LINEAR = TRPO(
    max_kl=0.02, damping=0.03, num_products=30, num_steps=LENGTH, num_epochs=2, num_minibatches=2, discount=0.9,
    gae_lambda=0.8, critic_learning_rate=0.0, normalise=(), network=MLP(()), optimiser=Recording(4),
)  # fmt: skip
# Of a bound this wide the quadratic model knows little: whole steps often break it, or gain nothing.
WIDE = dataclasses.replace(LINEAR, max_kl=2.0, damping=1e-3)


@functools.cache
def problems(name):
    """States with random policies and a window for each, `[PROBLEMS, ...]`."""
    rng, spec, found = np.random.default_rng(0), SPECS[name], []
    fresh = LINEAR.init(jax.random.key(0), spec)
    _, unravel = ravel_pytree(fresh.policy.actor)
    for _ in range(PROBLEMS):
        actor = unravel(jnp.asarray(rng.normal(size=ravel_pytree(fresh.policy.actor)[0].size) * 0.5, jnp.float32))
        window = random_window(rng, actor, spec.action_space, FEATURES, TERMINATED, TRUNCATED)
        found.append((fresh._replace(policy=fresh.policy._replace(actor=actor)), window))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


@functools.partial(jax.jit, static_argnames="name")
def learned(algorithm, state, window, name):
    context = Context(SPECS[name], Clock(jnp.int32(0), jnp.float32(0.25)))
    return jax.vmap(lambda s, w: algorithm.learn(s, w, jax.random.key(0), context))(state, window)


def vectors(state):
    return np.asarray(jax.vmap(lambda actor: ravel_pytree(actor)[0])(state.policy.actor), np.float64)


def whitened_advantages(state, window):
    weight = np.asarray(state.critic.head.weight, np.float64)[:, 0]
    values, after = (
        np.asarray(x, np.float64) @ weight for x in (window.steps.observation, window.steps.next_observation)
    )
    advantage, target = references(window, values, after, 0.9, 0.8)
    return ((advantage - advantage.mean()) / advantage.std()).reshape(-1), values.reshape(-1) - target.reshape(-1)


def policy(vector, x, name):
    """What a linear policy says in states `[N, F]`: log-probabilities, or means and log standard deviations."""
    size = ACTIONS if name == "discrete" else 2
    weight, bias = vector[: FEATURES * size].reshape(FEATURES, size), vector[FEATURES * size :][:size]
    outputs = x @ weight + bias
    return log_softmax(outputs, axis=1) if name == "discrete" else (outputs, vector[(FEATURES + 1) * size :])


def log_prob(vector, x, action, name):
    told = policy(vector, x, name)
    if name == "discrete":
        return told[np.arange(len(x)), action]
    mean, log_std = told
    return np.sum(-0.5 * ((action - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi), axis=1)


def divergence(old, new, x, name):
    a, b = policy(old, x, name), policy(new, x, name)
    if name == "discrete":
        return np.mean(np.sum(np.exp(a) * (a - b), axis=1))
    (m, s), (n, t) = a, b
    return np.mean(np.sum(t - s + (np.exp(2 * s) + (m - n) ** 2) / (2 * np.exp(2 * t)) - 0.5, axis=1))


def scores(vector, x, action, name):
    """grad log pi(a|s) in the parameters, `[N, P]`, by central differences in float64."""
    step = 1e-6 * np.eye(len(vector))
    return np.stack(
        [(log_prob(vector + d, x, action, name) - log_prob(vector - d, x, action, name)) / 2e-6 for d in step], axis=1
    )


def dense_fisher(vector, x, name):
    """The mean over states of E[grad log pi grad log pi'], the expectation over actions exact."""
    size, count = ACTIONS if name == "discrete" else 2, (FEATURES + 1) * (ACTIONS if name == "discrete" else 2)
    inputs = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    if name == "discrete":
        probs = np.exp(policy(vector, x, name))
        inner = np.einsum("na,ab->nab", probs, np.eye(size)) - np.einsum("na,nb->nab", probs, probs)
        return np.einsum("ni,nj,nab->iajb", inputs, inputs, inner).reshape(count, count) / len(x)
    log_std = policy(vector, x, name)[1]
    fisher = np.zeros((count + size, count + size))
    second = inputs.T @ inputs / len(x)
    fisher[:count, :count] = np.einsum("ij,ab->iajb", second, np.diag(np.exp(-2 * log_std))).reshape(count, count)
    fisher[count:, count:] = 2 * np.eye(size)
    return fisher


def numbers(window, index, name):
    steps = jax.tree.map(lambda leaf: np.asarray(leaf[index], np.float64), window.steps)
    action = steps.action.reshape(SIZE, *SPACES[name].shape)
    return steps.observation.reshape(SIZE, FEATURES), action.astype(int) if name == "discrete" else action


def one(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@pytest.mark.parametrize("name", SPACES)
def test_the_fisher_product_is_the_dense_matrix_times_the_vector(name):
    state, window = one(problems(name), 0)
    x, _ = numbers(jax.tree.map(lambda leaf: leaf[None], window), 0, name)
    parameters, unravel = ravel_pytree(state.policy.actor)

    def kl(flat):
        tell = lambda actor: actor.distribution(actor.network((), jnp.float32(x))[1], SPACES[name])  # noqa: E731
        return jnp.mean(tell(state.policy.actor).kl(tell(unravel(flat))))

    product = jax.jit(fisher_product(kl, parameters))
    fisher = dense_fisher(np.asarray(parameters, np.float64), x, name)
    for vector in np.random.default_rng(1).normal(size=(5, parameters.size)):
        np.testing.assert_allclose(product(jnp.float32(vector)), fisher @ vector, rtol=1e-4, atol=1e-5)


def test_conjugate_gradients_solve_side_by_side_and_stop_in_time():
    # Several at once, and far more products than are needed: what is left must not be divided by itself.
    rng = np.random.default_rng(2)
    roots = rng.normal(size=(3, 8, 3))
    matrices = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(8)
    b = rng.normal(size=(3, 8)) * np.array([[1.0], [1e-3], [0.0]])
    solve = jax.jit(jax.vmap(lambda m, v: conjugate_gradients(lambda x: m @ x, v, 50)))
    expected = np.linalg.solve(matrices, b[..., None])[..., 0]
    found = np.asarray(solve(jnp.float32(matrices), jnp.float32(b)))
    np.testing.assert_allclose(
        found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(axis=1, keepdims=True).max()
    )
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(found[2], 0.0)
    few = jax.jit(lambda m, v: conjugate_gradients(lambda x: m @ x, v, 1))(jnp.float32(matrices[0]), jnp.float32(b[0]))
    assert np.abs(few - expected[0]).max() > 1e-2


@pytest.mark.parametrize("name", SPACES)
def test_the_natural_step_is_that_of_the_damped_dense_matrix(name):
    state, window = problems(name)
    algorithm = dataclasses.replace(LINEAR, num_backtracks=0)
    after, metrics = learned(algorithm, state, window, name)
    for i in range(2):
        old, (x, action) = vectors(state)[i], numbers(window, i, name)
        advantage, _ = whitened_advantages(one(state, i), one(window, i))
        gradient = scores(old, x, action, name).T @ advantage / SIZE
        hessian = dense_fisher(old, x, name) + 0.03 * np.eye(len(old))
        direction = np.linalg.solve(hessian, gradient)
        step = np.sqrt(2 * 0.02 / (direction @ hessian @ direction)) * direction
        np.testing.assert_allclose(vectors(after)[i] - old, step, rtol=2e-3, atol=2e-4 * np.abs(step).max())
        np.testing.assert_allclose(metrics["gradient_norm"][i], np.linalg.norm(gradient), rtol=1e-4)
        np.testing.assert_allclose(metrics["kl"][i], divergence(old, old + step, x, name), rtol=1e-2)


def judged(state, window, after, name):
    """Of each problem the divergence of the new policy, and by how much the surrogate improved."""
    found = []
    for i, (old, new) in enumerate(zip(vectors(state), vectors(after), strict=True)):
        x, action = numbers(window, i, name)
        advantage, _ = whitened_advantages(one(state, i), one(window, i))
        ratio = np.exp(log_prob(new, x, action, name) - log_prob(old, x, action, name))
        found.append((divergence(old, new, x, name), np.mean((ratio - 1) * advantage)))
    return np.array(found).T


@pytest.mark.parametrize("name", SPACES)
def test_the_step_keeps_the_bound_and_improves_on_every_problem(name):
    state, window = problems(name)
    for algorithm, bound in ((LINEAR, 0.02), (WIDE, 2.0)):
        after, metrics = learned(algorithm, state, window, name)
        kl, gain = judged(state, window, after, name)
        moved = (vectors(after) != vectors(state)).any(axis=1)
        assert moved.mean() > 0.9
        assert (kl < bound * (1 + 1e-3)).all() and (gain[moved] > -1e-6).all()
        assert kl[moved].max() > 0.5 * bound  # the bound is used, not fled from
        np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-2, atol=1e-5)


def test_a_step_that_breaks_the_bound_or_gains_nothing_is_taken_back():
    state, window = problems("continuous")
    wider = dataclasses.replace(WIDE, max_kl=20.0)
    whole, _ = learned(dataclasses.replace(wider, num_backtracks=0), state, window, "continuous")
    kl, gain = judged(state, window, whole, "continuous")
    tried, _ = learned(dataclasses.replace(wider, num_backtracks=1), state, window, "continuous")
    moved = (vectors(tried) != vectors(state)).any(axis=1)
    np.testing.assert_array_equal(moved, (kl <= 20.0) & (gain > 0))
    # Two programs, which round apart.
    np.testing.assert_allclose(vectors(tried)[moved], vectors(whole)[moved], rtol=1e-5, atol=1e-5)
    # Each condition alone would have let steps pass, and many problems have neither fault.
    assert ((kl > 20.0) & (gain > 0)).sum() > 5 and ((kl <= 20.0) & (gain <= 0)).sum() > 5 and moved.sum() > 20


def test_without_anything_to_gain_nothing_moves():
    state, window = problems("discrete")
    silent = window._replace(steps=window.steps._replace(reward=jnp.zeros_like(window.steps.reward)))
    state = state._replace(critic=jax.tree.map(jnp.zeros_like, state.critic))
    after, metrics = learned(LINEAR, state, silent, "discrete")
    np.testing.assert_array_equal(vectors(after), vectors(state))
    assert not np.any(metrics["kl"] > 1e-6) and all(np.isfinite(value).all() for value in metrics.values())


def test_schedules_go_by_the_clock():
    state, window = problems("discrete")
    constant = dataclasses.replace(LINEAR, max_kl=0.025, critic_learning_rate=0.15)
    falling = dataclasses.replace(LINEAR, max_kl=Linear(0.03, 0.01), critic_learning_rate=Linear(0.2, 0.0))
    one, other = (learned(algorithm, state, window, "discrete")[0] for algorithm in (constant, falling))
    before = state.policy.actor, state.critic
    for old, a, b in zip(
        *map(jax.tree.leaves, (before, (one.policy.actor, one.critic), (other.policy.actor, other.critic))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        assert np.abs(np.asarray(a - old)).max() > 1e-3


def test_the_defaults_are_the_references():
    told = TRPO()
    assert (told.max_kl, told.damping, told.num_products) == (0.01, 0.1, 10)
    assert (told.backtrack, told.num_backtracks) == (0.8, 10)


def test_the_critic_is_fitted_apart_by_epochs_of_minibatches():
    state, window = problems("discrete")
    after, metrics = learned(LINEAR, state, window, "discrete")
    count, seen = after.optimiser
    for i in range(2):
        x, _ = numbers(window, i, "discrete")
        _, error = whitened_advantages(one(state, i), one(window, i))
        assert int(count[i]) == 4
        recorded = np.asarray(seen.head.weight[i], np.float64).reshape(2, 2, FEATURES)  # epochs, minibatches
        for epoch in recorded.mean(axis=1):
            np.testing.assert_allclose(epoch, x.T @ error / SIZE, rtol=1e-4, atol=1e-5)
        assert np.abs(recorded[0] - recorded[1]).max() > 1e-3  # shuffled anew
        np.testing.assert_allclose(metrics["value_loss"][i], 0.5 * np.mean(error**2), rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_kl": 0.0}, "max_kl must be positive"),
        ({"damping": -1.0}, "damping must be at least 0"),
        ({"backtrack": 1.5}, "backtrack must be between 0 and 1"),
        ({"num_products": 0}, "num_products must be at least 1"),
        ({"num_minibatches": 5}, "cannot be cut into 5 equal minibatches"),
        ({"normalise": ("actions",)}, "cannot normalise actions"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, words):
    with pytest.raises(OperantError, match=words):
        dataclasses.replace(LINEAR, **fields).check(SPECS["discrete"])
