"""C51, QR-DQN and IQN: targets, losses and priorities against their definitions, in float64."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.value.c51 import C51
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.iqn import IQN
from operant.algorithms.value.qr_dqn import QRDQN
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.replay import Prioritised, Uniform
from operant.parts.replay.prioritised import SMALLEST
from operant.parts.replay.transitions import Batch
from operant.parts.values.bootstraps import Double, Munchausen
from operant.parts.values.deep_q import Goal
from operant.parts.values.quantiles import midpoints, regress
from tests.equations.test_distributional import projected

ROWS, ACTIONS, ATOMS, DISCOUNT = 8, 3, 11, 0.9
KEY = jax.random.key(0)
SPEC = Spec(Box(-np.inf, np.inf, (2 * ROWS,), np.float32), Discrete(ACTIONS), 2)
SMALL = {"network": MLP(()), "batch_size": ROWS, "replay": Uniform(64)}
c51 = C51(num_atoms=ATOMS, v_min=-1.0, v_max=2.0, **SMALL)
qr = QRDQN(num_quantiles=4, huber_threshold=0.5, **SMALL)
iqn = IQN(num_quantiles=4, num_acting=8, num_waves=6, **SMALL)


@functools.cache
def networks(algorithm):
    """Two networks that differ, on one-hot observations: tables."""
    build = jax.jit(lambda key: algorithm._build(key, SPEC))
    grown = [jax.tree.map(lambda leaf: 3.0 * leaf, build(jax.random.key(seed))) for seed in (1, 2)]
    return tuple(grown)


@functools.cache
def batch():
    rng = np.random.default_rng(0)
    identity = np.eye(2 * ROWS, dtype=np.float32)
    action = rng.integers(0, ACTIONS, ROWS).astype(np.int32)
    reward = rng.normal(size=ROWS).astype(np.float32)
    reward[:3] = 0.3, 0.6, -5.0  # atoms on grid points where terminal, and below the support
    discount = np.where(np.arange(ROWS) < 3, 0.0, DISCOUNT).astype(np.float32)
    discount[3] = DISCOUNT**3
    return Batch(identity[:ROWS], action, reward, discount, identity[ROWS:])


@functools.cache
def losses(algorithm, double=False):
    algorithm = dataclasses.replace(algorithm, bootstrap=Double()) if double else algorithm
    online, target = networks(dataclasses.replace(algorithm, bootstrap=c51.bootstrap))

    @jax.jit
    def run(online, target):
        goal = algorithm._goal(online, target, batch(), KEY)
        return goal, algorithm._loss(online, batch(), goal, KEY)

    goal, (loss, metrics, priorities) = run(online, target)
    return goal, np.asarray(loss), metrics, np.asarray(priorities)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def outputs(network, features, size):
    flat = np.asarray(network((), features)[1], np.float64)
    return flat.reshape(len(features), ACTIONS, size)


@pytest.mark.parametrize("double", [False, True])
def test_c51_is_the_cross_entropy_to_the_projected_target(double):
    online, target = networks(c51)
    z, b = np.linspace(-1.0, 2.0, ATOMS), batch()
    p = softmax(outputs(target, b.following, ATOMS))
    judge = softmax(outputs(online, b.following, ATOMS)) if double else p
    best = (judge @ z).argmax(-1)  # on the expectation, not on the mode
    assert (best != p.max(-1).argmax(-1)).any()
    _, loss, metrics, priorities = losses(c51, double)
    log_p = np.log(softmax(outputs(online, b.features, ATOMS)))[np.arange(ROWS), b.action]
    expected = []
    for i in range(ROWS):
        m = projected(p[i, best[i]], b.reward[i] + b.discount[i] * z, z)
        np.testing.assert_allclose(m.sum(), 1.0, atol=1e-6)
        expected.append(-(m * log_p[i]).sum())
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(priorities, expected, rtol=1e-4)
    if not double:
        atoms = b.reward[:, None] + b.discount[:, None] * z[None]
        mass = p[np.arange(ROWS), best]
        outside = (mass * ((atoms < -1.001) | (atoms > 2.001))).sum(-1).mean()
        np.testing.assert_allclose(metrics["outside_support"], outside, rtol=1e-4)
        means = (mass * atoms).sum(-1)
        np.testing.assert_allclose(
            [metrics["lowest_target"], metrics["highest_target"]], [means.min(), means.max()], rtol=1e-4
        )


def test_logits_that_are_far_apart_lose_nothing():
    online, target = networks(c51)
    loud = jax.tree.map(lambda leaf: 1e3 * leaf, online)

    @jax.jit
    def run(net):
        goal = c51._goal(net, target, batch(), KEY)
        return jax.value_and_grad(lambda net: jnp.sum(c51._loss(net, batch(), goal, KEY)[0]))(net)

    loss, gradient = run(loud)
    assert np.isfinite(loss) and loss > 100 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_terminal_target_collapses_to_the_reward():
    """0.3 lies between two atoms, 0.5 of the way; 0.8 on one: all mass there, and none lost."""
    z = np.linspace(-1.0, 2.0, ATOMS)
    goal, *_ = losses(c51)
    assert not np.asarray(goal.discount)[:3].any()
    assert 0.5 in z.round(6) and 0.8 in z.round(6)
    for reward in (0.5, 0.8):
        m = projected(np.full(ATOMS, 1 / ATOMS), np.full(ATOMS, reward), z)
        assert m[np.abs(z - reward).argmin()] == pytest.approx(1.0)


def test_on_two_atoms_c51_moves_the_mean_as_q_learning_does():
    """With p the upper atom's probability, the loss's slope in its logit is p - m: the error of the mean, scaled."""
    algorithm = dataclasses.replace(c51, num_atoms=2, v_min=-50.0, v_max=50.0)  # wide enough
    online, target = networks(algorithm)

    @jax.jit
    def slope(online):
        goal = algorithm._goal(online, target, batch(), KEY)
        gradient = jax.grad(lambda net: jnp.sum(algorithm._loss(net, batch(), goal, KEY)[0]))(online)
        y = goal.reward + goal.discount * algorithm._mean(goal.returns)
        return y, algorithm._values(online, batch().features), gradient.head.weight

    y, values, gradient = (np.asarray(x) for x in slope(online))
    rows, action = np.arange(ROWS), np.asarray(batch().action)
    error = values[rows, action] - y
    np.testing.assert_allclose(gradient[rows, 2 * action + 1], error / 100.0, rtol=1e-3, atol=1e-5)


def test_qr_dqn_sums_over_estimates_the_means_over_targets():
    online, target = networks(qr)
    b = batch()
    there, here = outputs(target, b.following, 4), outputs(online, b.features, 4)
    best = there.mean(-1).argmax(-1)
    _, loss, _, priorities = losses(qr)
    for i in range(ROWS):
        y = b.reward[i] + b.discount[i] * there[i, best[i]]
        theta, total = here[i, b.action[i]], 0.0
        for k in range(4):
            tau = (2 * k + 1) / 8
            for j in range(4):
                u = y[j] - theta[k]
                huber = 0.5 * u * u if abs(u) <= 0.5 else 0.5 * (abs(u) - 0.25)
                total += abs(tau - (u < 0)) * huber / 0.5 / 4
        np.testing.assert_allclose(loss[i], total, rtol=1e-4)
        np.testing.assert_allclose(priorities[i], abs(y.mean() - theta.mean()), rtol=1e-3, atol=1e-5)


def test_one_quantile_is_the_median():
    targets = np.random.default_rng(0).exponential(size=(1, 101)).astype(np.float32)
    goal = Goal(jnp.zeros(1), jnp.ones(1), jnp.asarray(targets))
    np.testing.assert_array_equal(midpoints(1), [0.5])
    slope = jax.jit(jax.grad(lambda theta: regress(theta[None, None], jnp.full((1, 1), 0.5), goal, 0.0)[0][0]))
    median = np.median(targets)
    below, above = (float(slope(jnp.float32(median + d))) for d in (-1e-3, 1e-3))
    assert below < 0 < above and float(slope(jnp.float32(targets.mean()))) > 0.05  # and it is not the mean


def implicit(network, features, fractions):
    """Z `[B, A, K]` in float64, by the definition."""
    psi = np.asarray(network.network.hidden((), features)[1], np.float64)
    weight, bias = (np.asarray(x, np.float64) for x in (network.embedding.weight, network.embedding.bias))
    waves = np.cos(np.pi * np.arange(weight.shape[0]) * np.asarray(fractions, np.float64)[..., None])
    hidden = psi[:, None] * np.maximum(waves @ weight + bias, 0.0)
    head = network.network.head
    return np.swapaxes(hidden @ np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64), 1, 2)


def test_iqn_is_the_quantile_loss_at_drawn_fractions():
    online, target = networks(iqn)
    b = batch()
    tau = np.asarray(jax.random.uniform(KEY, (ROWS, 4)))  # the test gives one key for both
    goal, loss, _, _ = losses(iqn)
    grid = np.broadcast_to((np.arange(8) + 0.5) / 8, (ROWS, 8))
    best = implicit(target, b.following, grid).mean(-1).argmax(-1)
    there = implicit(target, b.following, tau)[np.arange(ROWS), best]
    np.testing.assert_allclose(goal.returns, there, atol=1e-5)
    y = jnp.asarray(b.reward[:, None] + b.discount[:, None] * there, jnp.float32)
    here = implicit(online, b.features, tau)[np.arange(ROWS), b.action]
    expected = regress(jnp.asarray(here, jnp.float32), jnp.asarray(tau), Goal(jnp.zeros(ROWS), jnp.ones(ROWS), y), 1.0)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-4)


@pytest.mark.parametrize("algorithm", [c51, qr, iqn], ids=["c51", "qr-dqn", "iqn"])
def test_actions_are_those_of_the_highest_mean(algorithm):
    online, _ = networks(algorithm)
    features, context = jnp.eye(2 * ROWS), Context(SPEC, Clock(jnp.int32(0), jnp.float32(0)))
    act = jax.jit(lambda net, key: algorithm.act(net, (), features, key, context, explore=False)[1])
    mean = {
        "C51": lambda: softmax(outputs(online, features, ATOMS)) @ np.linspace(-1, 2, ATOMS),
        "QRDQN": lambda: outputs(online, features, 4).mean(-1),
        "IQN": lambda: implicit(online, features, np.broadcast_to((np.arange(8) + 0.5) / 8, (2 * ROWS, 8))).mean(-1),
    }[type(algorithm).__name__]()
    np.testing.assert_array_equal(act(online, KEY), mean.argmax(-1))
    np.testing.assert_array_equal(act(online, KEY), act(online, jax.random.key(9)))


def test_priorities_come_back_to_the_rows_and_weights_enter_the_loss():
    """One update of DQN from a replay with priorities: |y - Q| + 1e-6 for what was drawn, the highest for the rest."""
    algorithm = DQN(
        learning_rate=0.0, discount=DISCOUNT, num_steps=4, warmup=0, batch_size=6, replay=Prioritised(8, 1.0, 1.0),
        network=MLP(()), target_every=10**6,
    )  # fmt: skip
    b = batch()
    column = lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:])  # noqa: E731
    ends = column(b.discount == 0)
    steps = Step(column(b.features), column(b.action), column(b.reward), ends, ends & False, column(b.following), ())
    window = Window(steps, (), jnp.arange(2), jnp.int32(0))
    context = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0)))
    state = algorithm.init(KEY, SPEC)

    @jax.jit
    def twice(state):
        state, first = algorithm.learn(state, window, jax.random.key(1), context)
        return (
            state,
            first,
            algorithm._update((state.policy, state.optimiser, state.replay), state.target, KEY, context)[1],
        )

    after, metrics, again = twice(state)
    q, following = (np.asarray(state.policy((), x)[1], np.float64) for x in (b.features, b.following))
    y = np.asarray(b.reward) + np.where(np.asarray(b.discount) > 0, DISCOUNT, 0) * following.max(-1)
    error = np.abs(y - q[np.arange(ROWS), np.asarray(b.action)])
    leaves = np.asarray(after.replay.tree.leaves).ravel()[:ROWS]
    drawn = np.abs(leaves - 1.0) > 1e-6
    assert 4 <= drawn.sum() <= 6
    np.testing.assert_allclose(leaves[drawn], error[drawn] + SMALLEST, rtol=1e-4)
    assert float(metrics["loss"].count) == 1.0
    draw = algorithm.replay.draw(after.replay, KEY, 6, 0.0)
    index = np.asarray(draw.index)
    weights = (ROWS * leaves[index] / leaves.sum()) ** -1.0
    assert weights.max() > 1.3 * weights.min()
    np.testing.assert_allclose(again["loss"], np.mean(weights / weights.max() * 0.5 * error[index] ** 2), rtol=1e-4)


def test_check_says_what_is_wrong():
    for algorithm, words in (
        (dataclasses.replace(c51, v_min=2.0), "C51's v_min must be below its v_max, not 2 with 2"),
        (dataclasses.replace(c51, num_atoms=1), "num_atoms must be at least 2"),
        (dataclasses.replace(qr, huber_threshold=-1.0), "huber_threshold"),
        (dataclasses.replace(iqn, num_quantiles=0), "num_quantiles"),
        (dataclasses.replace(iqn, n_step=2, bootstrap=Munchausen()), "n_step 1"),
    ):
        with pytest.raises(OperantError, match=words):
            algorithm.check(SPEC)
    for algorithm in (c51, qr, iqn):
        with pytest.raises(OperantError, match="needs Discrete actions"):
            algorithm.check(dataclasses.replace(SPEC, action_space=Box(-1, 1, (2,))))
        algorithm.check(SPEC)
    assert eqx.is_array(networks(c51)[0].head.weight)
