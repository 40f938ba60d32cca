"""The compiled edge: the fast path against gymnax's own step, the two ends, and parity with Gymnasium."""

import functools

import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.spaces import Discrete as GymnasiumDiscrete
from gymnax.environments.classic_control.cartpole import CartPole
from gymnax.environments.classic_control.cartpole import EnvState as CartPoleState
from gymnax.environments.classic_control.pendulum import EnvState as PendulumState
from gymnax.environments.classic_control.pendulum import Pendulum
from scipy import stats

from operant.environments import Compiled
from operant.environments.compiled import POOL_STEPS, POOL_STEPS_PER_START
from operant.errors import OperantError
from tests.probes import Discounting, Probe, Truncation

KEY = jax.random.key(0)


def played(world, policy, length, num_envs, key=KEY, window=POOL_STEPS):
    """`length` steps in one program: (worlds before, observation before, action, transition), each `[T, B, ...]`."""

    def step(loop, time):
        worlds, observation = loop
        keys = [jax.random.fold_in(jax.random.fold_in(key, number), time) for number in range(3)]
        refreshed = world.refresh(keys[0], worlds, time // window, window)
        worlds = jax.tree.map(lambda new, old: jnp.where(time % window == 0, new, old), refreshed, worlds)
        action = policy(keys[1], observation)
        after, transition = world.step(keys[2], worlds, action)
        return (after, transition.observation), (worlds, observation, action, transition)

    @jax.jit
    def run():
        return jax.lax.scan(step, world.reset(key, num_envs), jnp.arange(length))[1]

    return run()


def at_random(key, observation):
    return jax.random.randint(key, observation.shape[:1], 0, 2)


def lengths_of(ended):
    """Lengths of the episodes that began and ended within `[T, B]`."""
    found = []
    for column in np.asarray(ended).T:
        found.extend(np.diff(np.flatnonzero(column)))
    return np.array(found)


CARTPOLE = Compiled(CartPole())


@functools.cache
def cartpole():
    return jax.tree.map(np.asarray, played(CARTPOLE, at_random, 512, 16))


def test_pool_gives_the_episode_lengths_of_gymnax_step():
    assert CARTPOLE.pooled
    plain = Compiled(CartPole())
    plain.pooled = False
    _, _, _, transition = played(plain, at_random, 512, 16, key=jax.random.key(1))
    ours = lengths_of(cartpole()[3].terminated)
    theirs = lengths_of(transition.terminated)
    assert min(len(ours), len(theirs)) > 250
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert stats.ks_2samp(ours, theirs + 3).pvalue < 1e-3  # what this many episodes can tell apart


def test_pool_gives_the_starts_of_gymnax_reset():
    _, _, _, transition = cartpole()
    starts = transition.observation[transition.terminated]
    for coordinate in starts.T:
        assert stats.kstest(coordinate, stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-4


def test_steps_between_resets_are_those_of_the_environment():
    worlds, observation, action, transition = cartpole()
    environment, params = CARTPOLE.environment, CARTPOLE.params
    one = jax.jit(jax.vmap(jax.vmap(lambda s, a: environment.step_env(KEY, s, a, params))))
    seen, _, reward, terminated, _ = one(worlds.state, action)
    np.testing.assert_allclose(transition.next_observation, seen, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(transition.reward, reward)
    np.testing.assert_array_equal(transition.terminated, terminated)
    going, ended = ~transition.terminated, transition.terminated
    np.testing.assert_array_equal(transition.observation[going], transition.next_observation[going])
    # `next_observation` is before the reset: out of bounds; `observation` is after it: near zero.
    fallen = np.abs(transition.next_observation[ended])
    assert np.all((fallen[:, 0] > 2.4) | (fallen[:, 2] > 0.2))
    assert np.all(np.abs(transition.observation[ended]) <= 0.05)
    np.testing.assert_array_equal(observation[1:], transition.observation[:-1])
    np.testing.assert_array_equal(worlds.state.time[1:][ended[:-1]], 0)
    np.testing.assert_array_equal(worlds.state.time[1:][going[:-1]], worlds.state.time[:-1][going[:-1]] + 1)


def test_starts_are_taken_in_order_and_not_twice():
    worlds, _, _, transition = cartpole()
    total = 0
    for block in range(0, 512, POOL_STEPS):
        pool = worlds.pool[0][block]
        assert len(pool) == 16 * (POOL_STEPS // POOL_STEPS_PER_START)
        ended = transition.terminated[block : block + POOL_STEPS]
        starts = transition.observation[block : block + POOL_STEPS][ended]  # row by row: time, then environment
        assert 0 < len(starts) < len(pool)
        np.testing.assert_array_equal(starts, pool[: len(starts)])
        assert len(np.unique(starts, axis=0)) == len(starts)
        total += len(starts)
    pools = worlds.pool[0][::POOL_STEPS].reshape(-1, 4)
    assert len(np.unique(pools, axis=0)) == len(pools) > total  # each block draws a new pool


def test_long_windows_draw_at_each_and_short_ones_now_and_then():
    worlds, _ = CARTPOLE.reset(KEY, 2)
    first = worlds.pool[0]

    def redrawn(iteration, length):
        return bool(np.any(CARTPOLE.refresh(jax.random.key(5), worlds, jnp.int32(iteration), length).pool[0] != first))

    assert [redrawn(i, 2 * POOL_STEPS) for i in range(3)] == [True, True, True]
    assert [redrawn(i, POOL_STEPS // 2) for i in range(4)] == [True, False, True, False]
    assert [redrawn(i, POOL_STEPS // 2 + 1) for i in range(4)] == [True, False, True, False]


class Overriding(CartPole):
    def step(self, key, state, action, params=None):
        outcome = CartPole.step(self, key, state, action, params)
        return (*outcome[:2], outcome[2] * 10.0, *outcome[3:])


class Wrapping:
    """A wrapper that pays ten times, and hands everything else through."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def step(self, key, state, action, params=None):
        outcome = self.inner.step(key, state, action, params)
        return (*outcome[:2], outcome[2] * 10.0, *outcome[3:])


def replaced():
    environment = CartPole()
    environment.step = Wrapping(CartPole()).step
    return environment


@pytest.mark.parametrize("make", [Overriding, lambda: Wrapping(CartPole()), replaced])
def test_an_overridden_step_is_never_skipped(make):
    world = Compiled(make())
    assert not world.pooled
    worlds, observation = world.reset(KEY, 3)
    worlds = world.refresh(KEY, worlds, jnp.int32(0), 8)
    _, transition = world.step(KEY, worlds, at_random(KEY, observation))
    np.testing.assert_array_equal(transition.reward, [10.0] * 3)


def test_a_subclass_that_changes_the_dynamics_keeps_the_fast_path():
    class Paying(CartPole):
        def step_env(self, key, state, action, params):
            observation, state, reward, *rest = super().step_env(key, state, action, params)
            return observation, state, reward * 7.0, *rest

    world = Compiled(Paying())
    assert world.pooled
    worlds, observation = world.reset(KEY, 2)
    assert np.all(world.step(KEY, worlds, at_random(KEY, observation))[1].reward == 7.0)


def balancing(key, observation):
    gains = jnp.array([0.1, 0.3, 2.0, 0.6])
    return (observation @ gains > 0).astype(jnp.int32)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_time_limit_is_no_death(pooled):
    world = Compiled(CartPole())
    world.pooled = pooled
    assert world.time_limit == 500
    _, _, _, transition = jax.tree.map(np.asarray, played(world, balancing, 501, 4))
    assert not transition.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(transition.truncated.any(1)), [499])
    assert transition.truncated[499].all()
    assert transition.terminated.dtype == transition.truncated.dtype == bool


def test_probes_without_gymnax_ancestry():
    world = Compiled(Discounting())
    assert not world.pooled and world.time_limit == 2 and world.name == "Discounting"
    _, observation, _, transition = played(world, at_random, 4, 2)
    np.testing.assert_array_equal(observation[:, 0, 0], [0, 1, 0, 1])
    np.testing.assert_array_equal(transition.next_observation[:, 0, 0], [1, 2, 1, 2])
    np.testing.assert_array_equal(transition.terminated[:, 0], [False, True, False, True])
    assert not transition.truncated.any()
    _, _, _, transition = played(Compiled(Truncation()), at_random, 10, 2)
    assert not transition.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(transition.truncated[:, 0]), [4, 9])


class Old(Discounting):
    def step(self, key, world, action, params=None):
        observation, world, reward, terminated, _, info = super().step(key, world, action, params)
        return observation, world, reward, terminated, info


class Silent(Discounting):
    def step(self, key, world, action, params=None):
        return *super().step(key, world, action, params)[:5], {}


@pytest.mark.parametrize("environment", [Old(), Silent()])
def test_older_interfaces_are_refused(environment):
    world = Compiled(environment)
    worlds, _ = world.reset(KEY, 2)
    with pytest.raises(OperantError, match=r"step must return .*final_observation.*gymnax 1\.x"):
        world.step(KEY, worlds, jnp.zeros(2, jnp.int32))


class Mixed(Probe):
    """Observations of several parts whose dtypes are not what the space says."""

    def observation_space(self, params):
        return Dict({"pixels": Box(0, 255, (2, 2, 1), np.uint8), "place": GymnasiumDiscrete(9), "x": Box(-1, 1, (1,))})

    def observe(self, world):
        return {"pixels": jnp.ones((2, 2, 1)), "place": jnp.float32(world.time), "x": world.time[None]}

    def step(self, key, world, action, params=None):
        observation, world = self.reset(key)
        return observation, world, jnp.float32(1), jnp.bool_(True), jnp.bool_(False), {"final_observation": observation}


@pytest.mark.parametrize("name", ["Catch-bsuite", "Breakout-MinAtar", "FrozenLake-misc", "CartPole-v1"])
def test_observations_have_the_dtype_of_their_space(name):
    environment, params = gymnax.make(name)
    world = Compiled(environment, params)
    expected = np.dtype({"int64": "int32"}.get(str(world.observation_space.dtype), world.observation_space.dtype))

    def both(key):
        worlds, first = world.reset(key, 2)
        worlds, transition = world.step(key, worlds, jnp.zeros(2, jnp.int32))
        return first, transition.observation, transition.next_observation, transition.reward

    *seen, reward = jax.eval_shape(both, KEY)
    assert [leaf.dtype for leaf in seen] == [expected] * 3 and reward.dtype == jnp.float32
    assert [leaf.shape for leaf in seen] == [(2, *world.observation_space.shape)] * 3


def test_parts_of_observations_have_the_dtypes_of_their_spaces():
    world = Compiled(Mixed())
    worlds, first = world.reset(KEY, 2)
    _, transition = world.step(KEY, worlds, jnp.zeros(2, jnp.int32))
    for seen in (first, transition.observation, transition.next_observation):
        assert {name: str(leaf.dtype) for name, leaf in seen.items()} == {
            "pixels": "uint8",
            "place": "int32",
            "x": "float32",
        }


def test_carried_state_is_strongly_typed():
    worlds, observation = CARTPOLE.reset(KEY, 2)
    after, _ = CARTPOLE.step(KEY, worlds, at_random(KEY, observation))
    before, after = ([(leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(w)] for w in (worlds, after))
    assert before == after and not any(weak for _, weak in before)


def test_actions_reach_the_environment_in_its_own_units():
    world = Compiled(Pendulum())
    assert world.spec(3).action_space == Box(-1.0, 1.0, (1,)) and world.action_space.high[0] == 2.0
    worlds, _ = world.reset(KEY, 4)
    after, _ = world.step(KEY, worlds, jnp.array([[-1.0], [0.25], [1.0], [9.0]]))
    np.testing.assert_allclose(after.state.last_u, [-2.0, 0.5, 2.0, 2.0], rtol=1e-6)


def test_cartpole_is_gymnasiums_step_by_step():
    twin, rng = gymnasium.make("CartPole-v1").unwrapped, np.random.default_rng(0)
    twin.reset(seed=0)
    step = jax.jit(CARTPOLE.step)
    worlds, _ = CARTPOLE.reset(KEY, 64)
    states, actions = rng.uniform([-2.4, -4, -0.2, -4], [2.4, 4, 0.2, 4], (64, 4)), rng.integers(0, 2, 64)
    columns = [jnp.float32(column) for column in states.T]
    worlds = worlds._replace(state=CartPoleState(jnp.zeros(64, jnp.int32), *columns))
    _, transition = step(KEY, worlds, jnp.asarray(actions))
    ends = []
    for i in range(64):
        twin.state, twin.steps_beyond_terminated = states[i], None
        observation, reward, terminated, _, _ = twin.step(int(actions[i]))
        np.testing.assert_allclose(transition.next_observation[i], observation, rtol=1e-5, atol=1e-6)
        assert reward == transition.reward[i] and terminated == transition.terminated[i]
        ends.append(terminated)
    assert 5 < sum(ends) < 60


def test_pendulum_is_gymnasiums_step_by_step():
    twin, rng = gymnasium.make("Pendulum-v1").unwrapped, np.random.default_rng(0)
    twin.reset(seed=0)
    world = Compiled(Pendulum())
    worlds, _ = world.reset(KEY, 64)
    states = rng.uniform([-np.pi, -8], [np.pi, 8], (64, 2))
    columns = [jnp.float32(column) for column in states.T]
    worlds = worlds._replace(state=PendulumState(jnp.zeros(64, jnp.int32), *columns, last_u=jnp.zeros(64)))
    units = rng.uniform(-1.2, 1.2, (64, 1)).astype(np.float32)
    _, transition = jax.jit(world.step)(KEY, worlds, jnp.asarray(units))
    for i in range(64):
        twin.state = states[i]
        observation, reward, *_ = twin.step(2.0 * units[i])
        np.testing.assert_allclose(transition.next_observation[i], observation, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(transition.reward[i], reward, rtol=1e-5)
