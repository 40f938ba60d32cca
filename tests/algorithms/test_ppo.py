"""PPO, update by update, against definitions in float64.

With one-hot observations, one for each step, and a linear network, the rows of a gradient show which steps were in
a minibatch and with which advantage and value error.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete, Text
from scipy.special import log_softmax
from scipy.stats import norm

from operant.algorithms.policy.ppo import PPO
from operant.contracts import Clock, Context, Steps
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.optimisers import Adam
from operant.parts.schedules import Linear
from tests.algorithms.ppo_windows import (
    ACTIONS,
    ENVS,
    EPOCHS,
    FEATURES,
    LAST,
    LENGTH,
    MINIBATCHES,
    PROGRESS,
    SIZE,
    SMALL,
    SPEC,
    STILL,
    UPDATES,
    WHOLE,
    disturbed,
    forward,
    init,
    learned,
    loud,
    recorded,
    spec_of,
    whole_loss_gradient,
    window_of,
)
from tests.algorithms.support import references


def one_hot_window(algorithm, state):
    identity = np.eye(2 * SIZE)
    observation = identity[:SIZE].reshape(LENGTH, ENVS, -1)
    following = identity[SIZE:].reshape(LENGTH, ENVS, -1).copy()
    following[:-1] = np.where(LAST[:-1, :, None], following[:-1], observation[1:])
    return window_of(algorithm, state, observation, following)[0]


@pytest.fixture(scope="module")
def fresh():
    return loud(init(STILL, 0, SPEC))


@pytest.fixture(scope="module")
def window(fresh):
    return one_hot_window(STILL, fresh)


@pytest.fixture(scope="module")
def still(fresh, window):
    return learned(STILL, fresh, window)


def linear_values(critic, features):
    return np.asarray(features, np.float64) @ np.asarray(critic.head.weight, np.float64)[:, 0]


def rows(state, name, update):
    """The recorded gradient of an update in the weights of the linear actor or critic, one row for each step."""
    actor, critic = recorded(state)
    network = actor.network if name == "actor" else critic
    return np.asarray(network.head.weight[update], np.float64)[:SIZE]


def test_nothing_moves_without_a_learning_rate_and_the_ratio_is_one(still, fresh):
    state, metrics = still
    before, after = (fresh.policy, fresh.critic), (state.policy, state.critic)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(state.optimiser[0]) == UPDATES
    assert abs(metrics["approximate_kl"]) < 1e-10 and metrics["clip_fraction"] == 0.0


def test_the_stored_log_probability_is_the_policys(fresh, window):
    logits = np.asarray(fresh.policy.actor.network.head.weight, np.float64)[:SIZE]
    action = np.asarray(window.steps.action).reshape(-1)
    expected = log_softmax(logits, axis=1)[np.arange(SIZE), action].reshape(LENGTH, ENVS)
    np.testing.assert_allclose(window.steps.extras, expected, rtol=1e-5)
    assert np.ptp(expected) > 0.3


def test_every_step_is_used_once_an_epoch_in_a_new_order(still):
    state, _ = still
    used = np.array([np.abs(rows(state, "critic", u)[:, 0]) > 1e-9 for u in range(UPDATES)])
    epochs = used.reshape(EPOCHS, MINIBATCHES, SIZE)
    assert (epochs.sum(axis=2) == SIZE // MINIBATCHES).all() and (epochs.sum(axis=1) == 1).all()
    assert len({epoch[0].tobytes() for epoch in epochs} | {epoch[1].tobytes() for epoch in epochs}) == 2 * EPOCHS


def test_the_gradient_is_the_policy_gradient_with_advantages_normalised_in_each_minibatch(still, fresh, window):
    state, _ = still
    values = linear_values(fresh.critic, window.steps.observation)
    after = linear_values(fresh.critic, window.steps.next_observation)
    advantage, target = (x.reshape(-1) for x in references(window, values, after, 0.9, 0.8))
    error, action = values.reshape(-1) - target, np.asarray(window.steps.action).reshape(-1)
    logits = np.asarray(fresh.policy.actor.network.head.weight, np.float64)[:SIZE]
    score = np.eye(ACTIONS)[action] - np.exp(log_softmax(logits, axis=1))
    size, apart = SIZE // MINIBATCHES, []
    for update in range(UPDATES):
        critic, actor = rows(state, "critic", update)[:, 0], rows(state, "actor", update)
        used = np.abs(critic) > 1e-9
        np.testing.assert_allclose(critic, np.where(used, 0.5 * error / size, 0.0), atol=1e-6)
        within = (advantage - advantage[used].mean()) / advantage[used].std()
        np.testing.assert_allclose(actor, -(score * (within * used)[:, None]) / size, atol=1e-6)
        across = (advantage - advantage.mean()) / advantage.std()
        apart.append(np.abs((within - across)[used]).max())
    assert max(apart) > 0.1  # normalised over the whole batch it would be something else


def test_the_global_norm_is_clipped(still, fresh, window):
    def norms(state):
        flat = [np.asarray(g, np.float64).reshape(UPDATES, -1) for g in jax.tree.leaves(recorded(state))]
        return np.linalg.norm(np.concatenate(flat, axis=1), axis=1)

    free, metrics = still
    np.testing.assert_allclose(metrics["gradient_norm"], norms(free).mean(), rtol=1e-5)
    bound = float(np.median(norms(free)))
    clipped, told = learned(dataclasses.replace(STILL, max_gradient_norm=bound), fresh, window)
    factor = np.minimum(1.0, bound / norms(free))
    assert (factor < 1).any() and (factor == 1).any()
    for a, b in zip(jax.tree.leaves(recorded(free)), jax.tree.leaves(recorded(clipped)), strict=True):
        np.testing.assert_allclose(b, a * factor.reshape(-1, *[1] * (a.ndim - 1)), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(told["gradient_norm"], metrics["gradient_norm"], rtol=1e-6)  # before clipping


def influence(fresh, window, t, env):
    """How far the critic's gradients move where what followed one step was something else."""
    following = window.steps.next_observation.at[t, env].set(7.0 * jnp.eye(2 * SIZE)[0])
    other = window._replace(steps=window.steps._replace(next_observation=following))
    a, b = (recorded(learned(STILL, fresh, w)[0])[1].head.weight for w in (window, other))
    return np.abs(np.asarray(a - b)).max()


def test_only_terminal_states_are_worth_nothing(fresh, window):
    assert influence(fresh, window, 1, 0) == 0.0 and influence(fresh, window, 3, 2) == 0.0  # terminated
    assert influence(fresh, window, 1, 2) == 0.0  # both
    assert influence(fresh, window, 2, 1) > 1e-3  # truncated
    assert influence(fresh, window, 3, 3) > 1e-3  # the window's last step


def test_target_kl_leaves_out_the_remaining_updates(fresh, window):
    moving = dataclasses.replace(STILL, learning_rate=Linear(0.3, 0.3))
    full, _ = learned(moving, fresh, window)
    assert int(full.optimiser[0]) == UPDATES
    counts = []
    for limit in (-1.0, 1e-6, 0.001, 0.003, 0.01, 0.03, 0.1, 1e9):
        state, _ = learned(dataclasses.replace(moving, target_kl=limit), fresh, window)
        done = int(state.optimiser[0])
        counts.append(done)
        # The same updates as ever up to the stop, and from there on neither parameters nor moments move.
        for leaf, whole in zip(jax.tree.leaves(recorded(state)), jax.tree.leaves(recorded(full)), strict=True):
            np.testing.assert_allclose(leaf[:done], whole[:done], rtol=1e-5, atol=1e-6)
            assert not np.any(leaf[done:])
        begun, ended = (fresh.policy.actor, fresh.critic), (state.policy.actor, state.critic)
        for p, g, new in zip(*map(jax.tree.leaves, (begun, recorded(full), ended)), strict=True):
            np.testing.assert_allclose(new, p - 0.3 * np.sum(g[:done], axis=0), rtol=1e-4, atol=1e-5)
    assert counts[:2] == [0, 1] and counts[-1] == UPDATES and counts == sorted(counts)
    assert any(1 < count < UPDATES for count in counts), counts


# One update of a network with a hidden layer against its hand-derived gradient.


@pytest.fixture
def small():
    return disturbed()


def parameters(actor, critic):
    layers = [layer for n in (actor.network, critic) for layer in (n.parameters.layers[0], n.head)]
    return [p for layer in layers for p in (layer.weight, layer.bias)]


@pytest.mark.parametrize("bound", [1e9, 0.05])
def test_one_update_is_the_whole_loss_clipped_through_adam(small, bound):
    state, window = small
    after, metrics = learned(dataclasses.replace(WHOLE, max_gradient_norm=bound), state, window, PROGRESS, spec=SMALL)
    # Schedules by the clock: at a quarter of training.
    gradient, expected = whole_loss_gradient(state, window, 0.25, 0.15, 0.7)
    length = np.sqrt(sum(np.square(g).sum() for g in gradient))
    assert length > 0.05
    expected["gradient_norm"] = length
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    assert set(metrics) == set(expected)
    before, new = parameters(state.policy.actor, state.critic), parameters(after.policy.actor, after.critic)
    for old, g, p in zip(before, gradient, new, strict=True):
        g = g * min(1.0, bound / length)
        np.testing.assert_allclose(p, old - 0.015 * g / (np.abs(g) + 1e-5), rtol=1e-5, atol=1e-5)


def test_a_learning_rate_of_nothing_at_the_end(small):
    state, window = small
    after, metrics = learned(WHOLE, state, window, 1.0, spec=SMALL)
    for old, new in zip(jax.tree.leaves(state.policy), jax.tree.leaves(after.policy), strict=True):
        np.testing.assert_array_equal(old, new)
    tight, wide = (learned(WHOLE, state, window, p, spec=SMALL)[1]["clip_fraction"] for p in (1.0, 0.0))
    assert tight > wide  # the clip shrinks from 0.3 to 0.1
    assert metrics["clip_fraction"] == tight


def test_the_defaults_and_the_initialisation_are_the_references():
    assert PPO().optimiser == Adam(eps=1e-5) and PPO().window() == Steps(128)
    assert PPO().learning_rate == Linear(1e-3, 0.0) and PPO().clip == 0.2
    assert PPO().max_gradient_norm == PPO().value_coefficient == 0.5
    state = init(PPO(network=MLP((8, 8))), 0, SMALL)
    for network, gain in ((state.policy.actor.network, 0.01), (state.critic, 1.0)):
        for layer, expected in (*((layer, np.sqrt(2)) for layer in network.parameters.layers), (network.head, gain)):
            singular = np.linalg.svd(np.asarray(layer.weight), compute_uv=False)
            np.testing.assert_allclose(singular, expected, rtol=1e-3)
            assert not np.any(layer.bias)
    first, second = state.policy.actor.network.parameters.layers[0].weight, state.critic.parameters.layers[0].weight
    assert np.abs(np.asarray(first - second)).max() > 0.1  # separate networks


# Other action spaces.


def actions(space, many):
    spec = spec_of(FEATURES, space, many)
    state = loud(init(WHOLE, 0, spec))
    observation = jnp.float32(np.random.default_rng(0).normal(size=(many, FEATURES)) * 5.0)
    context = Context(spec, Clock(jnp.int32(0), jnp.float32(0)))
    act = jax.jit(lambda: WHOLE.act(state.policy, (), observation, jax.random.key(1), context, explore=True)[1:])
    outputs = forward(state.policy.actor.network, np.asarray(observation, np.float64))[2]
    return state, outputs, *map(np.asarray, act())


def test_continuous_actions_have_a_spread_of_their_own_and_are_stored_unclipped():
    state, mean, action, log_prob = actions(Box(-1.0, 1.0, (2, 1), np.float32), 500)
    np.testing.assert_array_equal(state.policy.actor.log_std, np.zeros(2))
    assert action.shape == (500, 2, 1) and np.abs(action).max() > 1.5
    flat = action[..., 0]
    np.testing.assert_allclose(log_prob, norm.logpdf(flat, mean, 1.0).sum(axis=1), rtol=1e-4, atol=1e-4)
    # Standard deviation 1 whatever the observation: the residuals do not know how large it was.
    residual = flat - mean
    for half in (residual[np.abs(mean[:, 0]) > 0.5], residual[np.abs(mean[:, 0]) <= 0.5]):
        assert abs(half.std() - 1.0) < 4 / np.sqrt(2 * half.size)


def test_several_discrete_choices_add_their_log_probabilities():
    _, logits, action, log_prob = actions(MultiDiscrete([2, 3]), 50)
    first, second = log_softmax(logits[:, :2], axis=1), log_softmax(logits[:, 2:], axis=1)
    index = np.arange(50)
    np.testing.assert_allclose(log_prob, first[index, action[:, 0]] + second[index, action[:, 1]], rtol=1e-4, atol=1e-5)
    assert set(action[:, 0]) == {0, 1} and set(action[:, 1]) == {0, 1, 2}


# The edges.


def test_no_two_arrays_of_a_fresh_state_share_a_buffer():
    leaves = jax.tree.leaves(WHOLE.init(jax.random.key(0), SMALL))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_check_says_what_is_wrong():
    PPO().check(SMALL)
    PPO(network=GRU(4, (4,)), num_minibatches=4).check(SMALL)
    for algorithm, spec, match in (
        (PPO(normalise=("rewards", "actions", "losses")), SMALL, "cannot normalise actions, losses"),
        (PPO(num_steps=5, num_minibatches=8), SMALL, "20 steps x environments cannot be cut into 8"),
        (PPO(num_minibatches=3, network=GRU(4, (4,))), SMALL, "4 environments .* cannot be cut into 3"),
        (PPO(num_steps=1, num_minibatches=4), SMALL, "single step"),
        (PPO(), spec_of(FEATURES, Text(3)), "not served"),
    ):
        with pytest.raises(OperantError, match=match):
            algorithm.check(spec)
