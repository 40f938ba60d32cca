"""PPO, update by update, against definitions in float64.

With one-hot observations, one for each step, and a linear network, the rows of a gradient show which steps were in
a minibatch and with which advantage and value error.
"""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Text
from jax.flatten_util import ravel_pytree
from scipy.special import log_softmax
from scipy.stats import norm

from operant.algorithms.policy.ppo import PPO
from operant.contracts import Clock, Context, Spec, Step, Steps, Window
from operant.core.drivers.loop import severed
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.normalisers import Moments
from operant.parts.optimisers import Adam
from operant.parts.schedules import Linear
from tests.algorithms.support import Recording, references

ACTIONS, LENGTH, ENVS = 3, 4, 4
SIZE, EPOCHS, MINIBATCHES = LENGTH * ENVS, 3, 2
UPDATES = EPOCHS * MINIBATCHES
TERMINATED = np.zeros((LENGTH, ENVS), bool)
TRUNCATED = np.zeros((LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = TERMINATED[3, 2] = True  # the last column ends nowhere
LAST = TERMINATED | TRUNCATED


def recorded(state):
    """The gradients that a `Recording` saw, `[updates, ...]`, in the shapes of `(actor, critic)`."""
    _, unravel = ravel_pytree((state.policy.actor, state.critic))
    return jax.vmap(unravel)(state.optimiser[1])


def spec_of(features, space=None, num_envs=ENVS):
    space = Discrete(ACTIONS) if space is None else space
    return Spec(Box(-np.inf, np.inf, (features,), np.float32), space, num_envs)


SPEC = spec_of(SIZE + ENVS * LENGTH)
STILL = PPO(
    learning_rate=Linear(0.0, 0.0), discount=0.9, gae_lambda=0.8, clip=Linear(0.2, 0.2), num_steps=LENGTH,
    entropy_coefficient=Linear(0.0, 0.0), max_gradient_norm=1e9, target_kl=1e9, num_epochs=EPOCHS,
    num_minibatches=MINIBATCHES, normalise=(), network=MLP(()), optimiser=Recording(UPDATES),
)  # fmt: skip


@functools.partial(jax.jit, static_argnames="spec")
def init(algorithm, seed, spec):
    return algorithm.init(jax.random.key(seed), spec)


@functools.partial(jax.jit, static_argnames="spec")
def learn(algorithm, state, window, key, progress, spec):
    return algorithm.learn(state, window, key, Context(spec, Clock(jnp.int32(0), progress)))


def learned(algorithm, state, window, progress=0.0, seed=0, spec=SPEC):
    return learn(algorithm, state, window, jax.random.key(seed), np.float32(progress), spec)


def loud(state):
    """The state with the policy's head scaled up, so that its probabilities are far from equal."""
    weight = lambda s: s.policy.actor.network.head.weight  # noqa: E731
    return eqx.tree_at(weight, state, 100.0 * weight(state))


@functools.partial(jax.jit, static_argnames="spec")
def acted(algorithm, policy, memory, observation, last, spec):
    """Act along observations `[T, B, F]`: `(memory, (actions, extras))`."""
    context = Context(spec, Clock(jnp.int32(0), jnp.float32(0)))

    def step(memory, inputs):
        t, seen, ended = inputs
        key = jax.random.fold_in(jax.random.key(5), t)
        memory, action, extras = algorithm.act(policy, memory, seen, key, context, explore=True)
        fresh = algorithm.start(policy, key, spec)
        keep = lambda new, old: jnp.where(ended[:, None], new, old)  # noqa: E731
        return jax.tree.map(keep, fresh, memory), (action, extras)

    return jax.lax.scan(step, memory, (jnp.arange(len(observation)), observation, last))


def window_of(algorithm, state, observation, following, spec=SPEC, memory=(), seed=3):
    """The window that a policy makes of given observations, with random rewards; and the memory after it."""
    after, (action, extras) = acted(algorithm, state.policy, memory, jnp.float32(observation), jnp.asarray(LAST), spec)
    reward = np.random.default_rng(seed).normal(size=(LENGTH, ENVS)).astype(np.float32)
    steps = Step(jnp.float32(observation), action, reward, TERMINATED, TRUNCATED, jnp.float32(following), extras)
    return Window(jax.tree.map(jnp.asarray, steps), memory, jnp.arange(ENVS), jnp.int32(0)), after


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

HIDDEN, FEATURES, PROGRESS = 4, 3, 0.25
WHOLE = PPO(
    learning_rate=Linear(0.02, 0.0), discount=0.9, gae_lambda=0.8, clip=Linear(0.3, 0.1), num_steps=LENGTH,
    entropy_coefficient=Linear(0.2, 0.0), value_coefficient=0.7, max_gradient_norm=1e9, num_epochs=1, num_minibatches=1,
    normalise=(), network=MLP((HIDDEN,), "tanh"), optimiser=Adam(eps=1e-5),
)  # fmt: skip
SMALL = spec_of(FEATURES)


@pytest.fixture(scope="module")
def small():
    """A state and a window whose stored log-probabilities are off, so that ratios lie on both sides of the clip."""
    rng = np.random.default_rng(4)
    state = loud(init(WHOLE, 1, SMALL))
    observation, following = rng.normal(size=(2, LENGTH, ENVS, FEATURES))
    following[:-1] = np.where(LAST[:-1, :, None], following[:-1], observation[1:])
    window = window_of(WHOLE, state, observation, following, SMALL)[0]
    off = jnp.float32(rng.normal(size=(LENGTH, ENVS)) * 0.4)
    return state, window._replace(steps=window.steps._replace(extras=window.steps.extras + off))


def forward(network, features):
    (layer,), head = network.parameters.layers, network.head
    w, b, u, c = (np.asarray(p, np.float64) for p in (layer.weight, layer.bias, head.weight, head.bias))
    hidden = np.tanh(features @ w + b)
    return hidden, u, hidden @ u + c


def backward(features, hidden, u, upstream):
    """Gradients of weight, bias, head's weight, head's bias from that of the outputs `[N, size]`."""
    inner = (upstream @ u.T) * (1 - hidden**2)
    return features.T @ inner, inner.sum(axis=0), hidden.T @ upstream, upstream.sum(axis=0)


def whole_loss_gradient(state, window, clip, entropy_coefficient, value_coefficient):
    """Of policy, value and entropy terms in float64: the eight gradients of actor and critic, and the metrics."""
    x = np.asarray(window.steps.observation, np.float64).reshape(SIZE, -1)
    following = np.asarray(window.steps.next_observation, np.float64).reshape(SIZE, -1)
    action = np.asarray(window.steps.action).reshape(-1)
    hidden, u, values = forward(state.critic, x)
    values, after = values[:, 0], forward(state.critic, following)[2][:, 0]
    shape = LENGTH, ENVS
    advantage, target = references(window, values.reshape(shape), after.reshape(shape), 0.9, 0.8)
    advantage, error = advantage.reshape(-1), values - target.reshape(-1)
    critic = backward(x, hidden, u, value_coefficient * error[:, None] / SIZE)
    advantage = (advantage - advantage.mean()) / advantage.std()
    hidden, u, logits = forward(state.policy.actor.network, x)
    log_probs = log_softmax(logits, axis=1)
    probs = np.exp(log_probs)
    entropy = -(probs * log_probs).sum(axis=1)
    log_ratio = log_probs[np.arange(SIZE), action] - np.asarray(window.steps.extras, np.float64).reshape(-1)
    ratio = np.exp(log_ratio)
    moved_enough = np.where(advantage > 0, ratio > 1 + clip, ratio < 1 - clip)
    push = np.where(moved_enough, 0.0, -advantage * ratio)
    by_logits = push[:, None] * (np.eye(ACTIONS)[action] - probs)
    by_logits += entropy_coefficient * probs * (log_probs + entropy[:, None])
    metrics = {
        "policy_loss": -np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage).mean(),
        "value_loss": 0.5 * np.mean(error**2),
        "entropy": entropy.mean(),
        "approximate_kl": np.mean(ratio - 1 - log_ratio),
        "clip_fraction": np.mean(np.abs(ratio - 1) > clip),
        "explained_variance": 1 - np.var(error) / np.var(target),
        "target_min": target.min(),
        "target_max": target.max(),
    }
    assert moved_enough.any() and not moved_enough.all()
    return [*backward(x, hidden, u, by_logits / SIZE), *critic], metrics


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


def test_the_default_optimiser_and_the_initialisation_are_the_references():
    assert PPO().optimiser == Adam(eps=1e-5) and PPO().window() == Steps(128)
    state = init(PPO(network=MLP((8, 8))), 0, SMALL)
    for network, gain in ((state.policy.actor.network, 0.01), (state.critic, 1.0)):
        for layer, expected in (*((layer, np.sqrt(2)) for layer in network.parameters.layers), (network.head, gain)):
            singular = np.linalg.svd(np.asarray(layer.weight), compute_uv=False)
            np.testing.assert_allclose(singular, expected, rtol=1e-3)
            assert not np.any(layer.bias)
    first, second = state.policy.actor.network.parameters.layers[0].weight, state.critic.parameters.layers[0].weight
    assert np.abs(np.asarray(first - second)).max() > 0.1  # separate networks


# Normalisation.

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


def test_observation_statistics_change_after_the_window_and_not_within(small):
    state, window = shifted(*small)
    after, metrics = learned(NORMALISING, state, window, spec=SMALL)
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


def test_evaluation_sees_what_training_saw_and_takes_the_likeliest_action(small):
    state, window = shifted(*small)
    observation = window.steps.observation[0]
    context = Context(SMALL, Clock(jnp.int32(0), jnp.float32(1)))
    _, action, extras = NORMALISING.act(state.policy, (), observation, jax.random.key(0), context, explore=False)
    moments = state.policy.moments
    features = (np.asarray(observation) - np.asarray(moments.mean)) / np.sqrt(np.asarray(moments.variance))
    np.testing.assert_array_equal(action, forward(state.policy.actor.network, features)[2].argmax(axis=1))
    assert extras == ()


def test_running_returns_start_anew_with_each_episode_and_belong_to_slots(small):
    state, window = small
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


# Memory.

RECURRENT = dataclasses.replace(STILL, network=GRU(3, (4,)), normalise=())
COLUMNS = spec_of(ENVS)


@pytest.fixture(scope="module")
def remembering():
    """A state, and two windows that follow one another, each environment showing its own one-hot observation."""
    state = loud(init(RECURRENT, 2, COLUMNS))
    observation = np.tile(np.eye(ENVS), (LENGTH, 1, 1)) * np.linspace(0.5, 2.0, LENGTH)[:, None, None]
    memory = jnp.float32(np.random.default_rng(0).normal(size=(ENVS, 3)))
    first, memory = window_of(RECURRENT, state, observation, 0.3 * observation, COLUMNS, memory)
    second, _ = window_of(RECURRENT, state, observation, 0.3 * observation, COLUMNS, memory, seed=4)
    return state, first, second


def test_states_are_recomputed_from_the_windows_memory_and_start_anew_at_ends(remembering):
    state, *windows = remembering
    for window in windows:
        _, metrics = learned(RECURRENT, state, window, spec=COLUMNS)
        assert abs(metrics["approximate_kl"]) < 1e-10 and metrics["clip_fraction"] == 0.0
    window = windows[1]
    forgetful = window._replace(memory=jnp.zeros_like(window.memory))
    endless = window._replace(steps=window.steps._replace(terminated=jnp.zeros_like(window.steps.terminated)))
    for wrong in (forgetful, endless):
        assert learned(RECURRENT, state, wrong, spec=COLUMNS)[1]["approximate_kl"] > 1e-6


def test_minibatches_are_whole_environments(remembering):
    state, window, _ = remembering
    after, _ = learned(RECURRENT, state, window, spec=COLUMNS)
    for network in recorded(after)[0].network, recorded(after)[1]:
        rows = np.abs(np.asarray(network.parameters.body.layers[0].weight)).max(axis=2) > 0
        epochs = rows.reshape(EPOCHS, MINIBATCHES, ENVS)
        assert (epochs.sum(axis=2) == ENVS // MINIBATCHES).all() and (epochs.sum(axis=1) == 1).all()


def test_the_critics_memory_goes_on_from_window_to_window_by_slots(remembering):
    state, first, second = remembering
    begun = state.critic.start(ENVS)
    observation = jnp.concatenate([first.steps.observation, second.steps.observation])
    halfway, _, _ = state.critic.unroll(begun, first.steps.observation, jnp.asarray(LAST))
    whole, _, _ = state.critic.unroll(begun, observation, jnp.concatenate([LAST, LAST]))
    assert np.abs(np.asarray(whole - halfway)).max() > 1e-3 and not np.any(whole[2])  # the third ended with the window
    order = jnp.array([2, 0, 3, 1])
    mixed = first._replace(
        steps=jax.tree.map(lambda leaf: leaf[:, order], first.steps), memory=first.memory[order], slots=order
    )
    for one in (first, mixed):
        once, _ = learned(RECURRENT, state, one, spec=COLUMNS)
        np.testing.assert_allclose(once.carried.memory, halfway, atol=1e-6)
        twice, _ = learned(RECURRENT, once, second, spec=COLUMNS)
        np.testing.assert_allclose(twice.carried.memory, whole, atol=1e-6)


def test_a_loop_whose_environments_were_reset_between_windows_clears_what_streams_carry(remembering):
    state, first, second = remembering
    cut, _ = learned(dataclasses.replace(RECURRENT, normalise=("rewards",)), state, first, spec=COLUMNS)
    assert all(np.abs(np.asarray(leaf)).max() > 1e-3 for leaf in jax.tree.leaves(cut.carried))
    anew = severed(cut)
    for new, fresh in zip(jax.tree.leaves(anew.carried), jax.tree.leaves(state.carried), strict=True):
        np.testing.assert_array_equal(new, fresh)
    for new, old in zip(
        jax.tree.leaves(anew._replace(carried=())), jax.tree.leaves(cut._replace(carried=())), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    memory = learned(RECURRENT, anew, second, spec=COLUMNS)[0].carried.memory
    assert np.abs(np.asarray(memory - learned(RECURRENT, cut, second, spec=COLUMNS)[0].carried.memory)).max() > 1e-4


def test_values_bootstrap_through_the_memory_before_any_restart(remembering):
    state, _, window = remembering
    carried = jnp.float32(np.random.default_rng(1).normal(size=(ENVS, 3)))
    _, metrics = learned(
        RECURRENT, state._replace(carried=state.carried._replace(memory=carried)), window, spec=COLUMNS
    )
    memory = carried
    values, after = np.zeros((LENGTH, ENVS)), np.zeros((LENGTH, ENVS))
    for t in range(LENGTH):
        memory, value = state.critic(memory, window.steps.observation[t])
        values[t], after[t] = value[:, 0], state.critic(memory, window.steps.next_observation[t])[1][:, 0]
        memory = jnp.where(jnp.asarray(LAST[t])[:, None], 0.0, memory)
    advantage, target = references(window, values, after, 0.9, 0.8)
    np.testing.assert_allclose(metrics["value_loss"], 0.5 * np.mean(advantage**2), rtol=1e-5)
    np.testing.assert_allclose(metrics["explained_variance"], 1 - np.var(advantage) / np.var(target), rtol=1e-4)


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
