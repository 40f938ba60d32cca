"""DQN, update by update: a linear network on one-hot observations shows which transition gave which gradient."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.value.dqn import DQN
from operant.contracts import Clock, Context, Spec, Step, Steps, Window
from operant.errors import OperantError
from operant.parts.exploration import UCB, EpsilonGreedy
from operant.parts.networks import GRU, MLP
from operant.parts.optimisers import Adam
from operant.parts.replay import Uniform
from operant.parts.replay.transitions import Batch
from operant.parts.schedules import Linear
from operant.parts.values.bootstraps import Double, Munchausen
from tests.algorithms.support import Recording

ACTIONS, LENGTH, ENVS = 3, 3, 2
BLOCK = LENGTH * ENVS
UPDATES, BATCH = 2, 16
TERMINATED = np.array([[False, True], [False, False], [True, False]])
TRUNCATED = np.array([[False, False], [True, False], [False, False]])


def spec_of(features, num_envs=ENVS):
    return Spec(Box(-np.inf, np.inf, (features,), np.float32), Discrete(ACTIONS), num_envs)


FEATURES = 2 * BLOCK  # one for each transition's observation, one for each of what followed
SPEC = spec_of(FEATURES)
PLAIN = DQN(
    learning_rate=Linear(0.0, 0.0), discount=0.9, target_every=1000, warmup=0, num_steps=LENGTH, num_updates=UPDATES,
    batch_size=BATCH, replay=Uniform(4 * BLOCK), network=MLP(()), optimiser=Recording(UPDATES),
)  # fmt: skip
DOUBLE = dataclasses.replace(PLAIN, bootstrap=Double())
CLIPPED = dataclasses.replace(PLAIN, huber_threshold=0.5)


@functools.partial(jax.jit, static_argnames="spec")
def learn(algorithm, state, window, key, iteration, progress, spec=SPEC):
    return algorithm.learn(state, window, key, Context(spec, Clock(iteration, progress)))


def learned(algorithm, state, window, iteration=0, progress=0.0, seed=0, spec=SPEC):
    clock = np.int32(iteration), np.float32(progress)
    return learn(algorithm, state, window, jax.random.key(seed), *clock, spec)


@pytest.fixture(scope="module")
def window():
    rng = np.random.default_rng(0)
    identity = np.eye(FEATURES, dtype=np.float32)
    shape = LENGTH, ENVS
    action = rng.integers(0, ACTIONS, shape).astype(np.int32)
    reward = rng.normal(size=shape).astype(np.float32)
    observation, following = identity[:BLOCK].reshape(*shape, -1), identity[BLOCK:].reshape(*shape, -1)
    steps = Step(observation, action, reward, TERMINATED, TRUNCATED, following, ())
    return Window(jax.tree.map(jnp.asarray, steps), (), jnp.arange(ENVS), jnp.int32(0))


def with_head(network, seed):
    rng = np.random.default_rng(seed)
    parts = lambda n: (n.head.weight, n.head.bias)  # noqa: E731
    return eqx.tree_at(parts, network, tuple(jnp.float32(rng.normal(size=p.shape)) for p in parts(network)))


@pytest.fixture(scope="module")
def fresh():
    """A state whose online and target networks differ."""
    state = PLAIN.init(jax.random.key(0), SPEC)
    return state._replace(policy=with_head(state.policy, 1), target=with_head(state.target, 2))


def table(network):
    head = network.head
    return np.asarray(head.weight, np.float64) + np.asarray(head.bias, np.float64)


def errors(window, online, target, double=False, discount=0.9):
    """y - Q(s, a) of each transition in float64, `[BLOCK]`, and its action."""
    steps = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(BLOCK, *leaf.shape[2:]), window.steps)
    found = np.zeros(BLOCK)
    for i in range(BLOCK):
        after = BLOCK + i
        judge = table(online if double else target)
        value = table(target)[after, judge[after].argmax()]
        y = steps.reward[i] + (0.0 if steps.terminated[i] else discount * value)
        found[i] = y - table(online)[i, steps.action[i]]
    return found, steps.action


def counts(state, update, found, action):
    """How often each transition was in an update's batch, read off the gradient; checks everything else of it."""
    weight = np.asarray(state.optimiser[1].head.weight[update], np.float64)
    drawn = -weight[np.arange(BLOCK), action] * BATCH / found
    np.testing.assert_allclose(drawn, drawn.round(), atol=2e-4)
    drawn = drawn.round()
    assert drawn.sum() == BATCH and (drawn >= 0).all()
    # Only the chosen action of the observation moves: not the next observation, through the maximum or otherwise.
    expected = np.zeros_like(weight)
    expected[np.arange(BLOCK), action] = -drawn * found / BATCH
    np.testing.assert_allclose(weight, expected, atol=1e-5)
    bias = np.asarray(state.optimiser[1].head.bias[update])
    np.testing.assert_allclose(bias, expected.sum(axis=0), atol=1e-5)
    return drawn


@pytest.mark.parametrize("name", ["max", "double", "huber"])
def test_the_gradient_is_that_of_the_errors_of_a_batch(fresh, window, name):
    algorithm = {"max": PLAIN, "double": DOUBLE, "huber": CLIPPED}[name]
    found, action = errors(window, fresh.policy, fresh.target, name == "double")
    if name == "huber":
        assert (np.abs(found) > 0.5).any() and (np.abs(found) < 0.5).any()
        found = np.clip(found, -0.5, 0.5)
    state, metrics = learned(algorithm, fresh, window)
    assert int(state.optimiser[0]) == UPDATES
    drawn = [counts(state, update, found, action) for update in range(UPDATES)]
    assert (drawn[0] != drawn[1]).any()
    if name == "max":
        expected = np.mean([(row * 0.5 * found**2).sum() / BATCH for row in drawn])
        np.testing.assert_allclose(metrics["loss"].total, expected, rtol=1e-5)
    np.testing.assert_array_equal(table(state.policy), table(fresh.policy))


def test_the_two_estimators_differ_and_agree_on_equal_networks(fresh, window):
    one, other = (errors(window, fresh.policy, fresh.target, double)[0] for double in (False, True))
    assert np.abs(one - other).max() > 0.1
    equal = fresh._replace(target=fresh.policy)
    a, b = (learned(algorithm, equal, window)[0].optimiser for algorithm in (PLAIN, DOUBLE))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_each_update_descends_from_the_one_before(fresh, window):
    algorithm = dataclasses.replace(PLAIN, learning_rate=Linear(0.4, 0.0))
    state, _ = learned(algorithm, fresh, window, progress=0.5)
    found, action = errors(window, fresh.policy, fresh.target)
    counts(state, 0, found, action)
    halfway = jax.tree.map(lambda p, g: p - 0.2 * g[0], fresh.policy, state.optimiser[1])
    found, _ = errors(window, halfway, fresh.target)
    counts(state, 1, found, action)
    after = jax.tree.map(lambda p, g: p - 0.2 * g[1], halfway, state.optimiser[1])
    np.testing.assert_allclose(table(state.policy), table(after), atol=1e-5)
    np.testing.assert_array_equal(table(state.target), table(fresh.target))
    # Where a copy is due (steps 997 to 1002), it is of what was just learned.
    state, _ = learned(algorithm, fresh, window, iteration=166, progress=0.5)
    np.testing.assert_array_equal(table(state.target), table(state.policy))
    assert np.abs(table(state.target) - table(fresh.policy)).max() > 1e-3


def test_only_what_was_done_moves(fresh, window):
    flat = jax.tree.map(lambda leaf: leaf.reshape(BLOCK, *leaf.shape[2:]), window.steps)
    for algorithm in (PLAIN, DOUBLE):
        batch = Batch(flat.observation, flat.action, flat.reward, 0.9 * flat.continues, flat.next_observation)
        key = jax.random.key(0)

        def loss(online):
            goal = algorithm._goal(fresh.policy, fresh.target, batch, key)  # noqa: B023
            return jnp.mean(algorithm._loss(online, batch, goal, key)[0])  # noqa: B023

        online = jax.grad(loss)(fresh.policy)
        assert not np.any(np.asarray(online.head.weight)[BLOCK:]) and np.any(np.asarray(online.head.weight)[:BLOCK])


def test_the_default_optimiser_is_adam(fresh, window):
    adam = DQN().optimiser
    assert adam == Adam()
    algorithm = dataclasses.replace(PLAIN, optimiser=adam, num_updates=1, learning_rate=Linear(0.01, 0.01))
    state = fresh._replace(optimiser=adam.transform().init(fresh.policy))
    after, _ = learned(algorithm, state, window)
    # Adam's first step is the learning rate in the direction of the gradient's sign, whatever the batch's counts.
    found, action = errors(window, fresh.policy, fresh.target)
    moved = np.asarray(after.policy.head.weight - fresh.policy.head.weight)[np.arange(BLOCK), action]
    drawn = np.abs(moved) > 1e-3
    assert drawn.sum() >= BLOCK - 1
    np.testing.assert_allclose(moved[drawn], 0.01 * np.sign(found)[drawn], rtol=1e-3)


def changed(fresh, window, t, env):
    """How far the gradients move where one transition's `next_observation` is another's."""
    following = window.steps.next_observation.at[t, env].set(jnp.eye(FEATURES)[BLOCK] * 5.0)
    other = window._replace(steps=window.steps._replace(next_observation=following))
    a, b = (learned(PLAIN, fresh, w)[0].optimiser[1].head.weight for w in (window, other))
    return np.abs(np.asarray(a - b)).max()


def test_what_follows_counts_after_a_truncation_and_not_after_a_termination(fresh, window):
    assert TRUNCATED[1, 0] and changed(fresh, window, 1, 0) > 1e-3
    assert changed(fresh, window, 2, 1) > 1e-3
    assert TERMINATED[0, 1] and changed(fresh, window, 0, 1) == 0.0


COMBINATIONS = [(3, 2, 4), (3, 2, 6), (3, 2, 15), (2, 4, 12), (1, 1, 3), (5, 2, 7)]


@pytest.mark.parametrize(("num_steps", "num_envs", "every"), COMBINATIONS)
def test_the_target_is_copied_when_its_number_of_steps_is_crossed(num_steps, num_envs, every):
    spec, per_window = spec_of(2, num_envs), num_steps * num_envs
    algorithm = DQN(num_steps=num_steps, target_every=every, warmup=10**6, replay=Uniform(8), network=MLP(()))
    state = algorithm.init(jax.random.key(0), spec)
    state = state._replace(policy=with_head(state.policy, 1), target=with_head(state.target, 2))
    window = blank(num_steps, num_envs)
    for iteration in range(2 * every):
        before, after = iteration * per_window, (iteration + 1) * per_window
        due = any(before < multiple * every <= after for multiple in range(1, after // every + 1))
        new, _ = learned(algorithm, state, window, iteration, spec=spec)
        expected = state.policy if due else state.target
        np.testing.assert_array_equal(table(new.target), table(expected))


def blank(num_steps, num_envs):
    shape, zeros = (num_steps, num_envs), jnp.zeros((num_steps, num_envs))
    observation = jnp.zeros((*shape, 2))
    steps = Step(observation, jnp.int32(zeros), zeros, zeros > 0, zeros > 0, observation, ())
    return Window(steps, (), jnp.arange(num_envs), jnp.int32(0))


def test_nothing_is_learned_before_the_warm_up_and_the_replay_fills(fresh, window):
    algorithm = dataclasses.replace(PLAIN, warmup=3 * BLOCK, learning_rate=Linear(0.1, 0.1))
    state = fresh
    for iteration in range(3):
        state, metrics = learned(algorithm, state, window, iteration)
        for old, new in zip(
            jax.tree.leaves((fresh.policy, fresh.target, fresh.optimiser)),
            jax.tree.leaves((state.policy, state.target, state.optimiser)),
            strict=True,
        ):
            np.testing.assert_array_equal(old, new)
        assert int(algorithm.replay.size(state.replay)) == (iteration + 1) * BLOCK
        assert all(float(ratio.count) == 0.0 for ratio in metrics.values())
    state, metrics = learned(algorithm, state, window, 3)
    assert int(state.optimiser[0]) == UPDATES and all(float(ratio.count) == 1.0 for ratio in metrics.values())
    assert np.abs(table(state.policy) - table(fresh.policy)).max() > 1e-3


def test_billions_of_steps_do_not_overflow(fresh, window):
    algorithm = dataclasses.replace(PLAIN, warmup=3 * BLOCK)
    for iteration in (400_000_000, 400_000_110):  # times 6 is beyond int32
        state, _ = learned(algorithm, fresh, window, iteration)
        assert int(state.optimiser[0]) == UPDATES
        steps = (iteration + 1) * BLOCK
        due = steps // 1000 > (steps - BLOCK) // 1000
        np.testing.assert_array_equal(table(state.target), table(fresh.policy if due else fresh.target))


@pytest.mark.parametrize(("num_steps", "every"), [(5_120, 10**6), (1_024, 999_999), (10, 10_000_000)])
def test_long_intervals_between_copies_do_not_overflow(num_steps, every):
    period = DQN(target_every=every)._period(num_steps)
    windows = np.random.default_rng(0).integers(0, 2**31 - 1, 1000)
    assert windows.max() % period * num_steps < 2**31
    exact = windows * num_steps % every  # in int64
    np.testing.assert_array_equal(np.int32(windows % period) * np.int32(num_steps) % np.int32(every), exact)


def test_an_interval_that_cannot_be_counted_is_refused():
    with pytest.raises(OperantError, match="a target_every of 1000000007 cannot be counted here: try 1000000004"):
        dataclasses.replace(PLAIN, target_every=10**9 + 7, num_steps=2).check(spec_of(2, 2))


def test_epsilon_follows_progress_and_greedy_ignores_it(fresh):
    algorithm = dataclasses.replace(PLAIN, exploration=EpsilonGreedy(Linear(1.0, 0.1, over=0.5)))
    many = 4000
    observation = jnp.tile(jnp.eye(FEATURES)[:1], (many, 1))
    best = table(fresh.policy)[0].argmax()

    @functools.partial(jax.jit, static_argnames="explore")
    def act(progress, explore):
        context = Context(SPEC, Clock(jnp.int32(0), progress))
        return algorithm.act(fresh.policy, (), observation, jax.random.key(0), context, explore=explore)[1]

    for progress, epsilon in ((0.0, 1.0), (0.25, 0.55), (0.5, 0.1), (1.0, 0.1)):
        drawn = np.bincount(np.asarray(act(jnp.float32(progress), True)), minlength=ACTIONS) / many
        expected = np.full(ACTIONS, epsilon / ACTIONS)
        expected[best] += 1 - epsilon
        assert (np.abs(drawn - expected) < 4 * np.sqrt(expected * (1 - expected) / many)).all()
        assert (np.asarray(act(jnp.float32(progress), False)) == best).all()


def test_the_initialisation_is_the_frameworks_uniform_one():
    state = DQN().init(jax.random.key(0), spec_of(4))
    layers = [*state.policy.parameters.layers, state.policy.head]
    assert [layer.weight.shape for layer in layers] == [(4, 120), (120, 84), (84, ACTIONS)]
    for layer in layers:
        bound = 1 / np.sqrt(layer.weight.shape[0])
        for leaf in (layer.weight, layer.bias):
            assert np.abs(leaf).max() <= bound and np.abs(leaf).max() > 0.5 * bound
        # A uniform distribution's standard deviation; an orthogonal matrix has another.
        np.testing.assert_allclose(np.std(layer.weight), bound / np.sqrt(3), rtol=0.1)
    for a, b in zip(jax.tree.leaves(state.policy), jax.tree.leaves(state.target), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_two_arrays_of_a_fresh_state_share_a_buffer():
    leaves = jax.tree.leaves(PLAIN.init(jax.random.key(0), SPEC))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_check_says_what_is_wrong():
    assert DQN().window() == Steps(10)
    DQN().check(SPEC)
    for algorithm, spec, match in (
        (DQN(), dataclasses.replace(SPEC, action_space=Box(-1, 1, (2,))), "Discrete"),
        (DQN(replay=Uniform(100)), SPEC, "a replay of 100 transitions is smaller than a minibatch of 128"),
        (DQN(n_step=2, bootstrap=Munchausen()), SPEC, "Munchausen is defined for n_step 1, not 2"),
        (DQN(n_step=0), SPEC, "n_step must be at least 1"),
        (DQN(network=GRU(4, (4,))), SPEC, "memory"),
        (DQN(exploration=UCB()), SPEC, "keeps no counts"),
    ):
        with pytest.raises(OperantError, match=match):
            algorithm.check(spec)
