"""The compiled driver: how training is cut up, batched or repeated changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.value.dqn import DQN
from operant.core import runtime
from operant.core.drivers.compiled import CompiledDriver
from operant.environments import Compiled, make
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.replay import Uniform
from tests.probes import Memory, ObservationAction, Probe, Truncation

SMALL = MLP((16,))
ALGORITHMS = {
    "ppo": PPO(num_steps=16, num_minibatches=2, num_epochs=2, network=SMALL),
    "dqn": DQN(num_steps=4, warmup=32, target_every=48, batch_size=16, replay=Uniform(256), network=SMALL),
    "reinforce": REINFORCE(network=SMALL),
}
ITERATIONS = 12


def cartpole():
    return make("CartPole-v1", kwargs={"max_steps_in_episode": 40})


def leaves(carry):
    convert = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x  # noqa: E731
    return [np.asarray(convert(leaf)) for leaf in jax.tree.leaves(carry)]


def iterated(driver, carry, iteration):
    """One member's carry after `iteration`, and the window that it learned from."""
    times = jnp.int32(iteration), jnp.float32(8)
    return jax.jit(lambda c: driver._window_and_learn(driver.algorithm, c, *times))(carry)[0]


def first_window(driver, carry, iteration):
    """The window that one member's `carry` learns from at `iteration`."""
    return iterated(driver, carry, iteration)[1]


def assert_same(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module", params=ALGORITHMS)
def alone(request):
    """A driver of one seed and what its uninterrupted training ends with."""
    driver = CompiledDriver(ALGORITHMS[request.param], cartpole(), 4)
    return driver, driver.advance(driver.start(3), 0, ITERATIONS, ITERATIONS)


def test_chunks_of_any_length_give_the_same_bits(alone):
    driver, whole = alone
    carry, iteration = driver.start(3), 0
    for count in (1, 0, 4, 2, 5):
        carry = driver.advance(carry, iteration, count, ITERATIONS)
        iteration += count
    assert_same(carry, whole)


def test_a_seed_repeats_itself_and_seeds_differ(alone):
    driver, whole = alone
    assert_same(driver.advance(driver.start(3), 0, ITERATIONS, ITERATIONS), whole)
    other = driver.advance(driver.start(4), 0, ITERATIONS, ITERATIONS)
    assert not np.array_equal(jax.tree.leaves(other.state.policy)[0], jax.tree.leaves(whole.state.policy)[0])


def test_training_does_change_the_policy(alone):
    driver, whole = alone
    assert not np.array_equal(jax.tree.leaves(driver.start(3).state.policy)[0], jax.tree.leaves(whole.state.policy)[0])


def test_the_carry_is_strongly_typed_and_has_the_templates_shapes(alone):
    driver, whole = alone
    for expected, leaf in zip(jax.tree.leaves(driver.template()), jax.tree.leaves(whole), strict=True):
        assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)
        assert not getattr(leaf, "weak_type", False)


@pytest.fixture
def as_users_compile(monkeypatch):
    """With the optimisations that tests/conftest.py switches off: bits are those of the program that users run."""
    made = CompiledDriver._compiled
    options = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
    options = {name: value for name, value in options.items() if runtime.known(name, value)}
    monkeypatch.setattr(
        CompiledDriver, "_compiled", lambda *given, **kept: made(*given, **{"compiler_options": options} | kept)
    )


@pytest.mark.parametrize("name", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_seeds_in_turn_are_bit_for_bit_those_alone(name, as_users_compile):
    driver = CompiledDriver(ALGORITHMS[name], cartpole(), 4, num_seeds=2, batching="map")
    together = driver.advance(driver.start(3), 0, ITERATIONS, ITERATIONS)
    single = CompiledDriver(ALGORITHMS[name], cartpole(), 4)
    for k in range(2):
        member = jax.tree.map(lambda leaf, k=k: leaf[k : k + 1], together)
        assert_same(member, single.advance(single.start(3 + k), 0, ITERATIONS, ITERATIONS))


def test_devices_share_the_seeds_and_change_nothing():
    devices = jax.local_devices()
    assert len(devices) == 2  # tests/conftest.py
    drivers = [
        CompiledDriver(ALGORITHMS["dqn"], cartpole(), 4, num_seeds=4, batching="map", devices=devices[:count])
        for count in (1, 2)
    ]
    one, two = (driver.advance(driver.start(3), 0, ITERATIONS, ITERATIONS) for driver in drivers)
    assert_same(one, two)
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(two)} == {2}
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(drivers[1].policies(two))} == {1}


@pytest.mark.parametrize(("seeds", "shares"), [(1, 1), (2, 2), (3, 1)])
def test_only_equal_shares_are_made(seeds, shares):
    driver = CompiledDriver(ALGORITHMS["ppo"], cartpole(), 4, num_seeds=seeds)
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(driver.start(0))} == {shares}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_seeds_side_by_side_agree_with_those_alone_at_first(name):
    driver = CompiledDriver(ALGORITHMS[name], cartpole(), 4, num_seeds=2)
    together = driver.advance(driver.start(3), 0, 2, ITERATIONS)
    single = CompiledDriver(ALGORITHMS[name], cartpole(), 4)
    for k in range(2):
        one = single.advance(single.start(3 + k), 0, 2, ITERATIONS)
        for x, y in zip(jax.tree.leaves(together.state.policy), jax.tree.leaves(one.state.policy), strict=True):
            np.testing.assert_allclose(x[k], y[0], rtol=1e-4, atol=1e-5)


def test_members_of_a_population_differ_in_data_and_each_is_its_own():
    rates = (1e-4, 3e-3)
    members = [dataclasses.replace(ALGORITHMS["ppo"], learning_rate=rate) for rate in rates]
    driver = CompiledDriver(members, cartpole(), 4)
    together = driver.advance(driver.start(3), 0, 2, ITERATIONS)
    for k, member in enumerate(members):
        single = CompiledDriver(member, cartpole(), 4)
        one = single.advance(single.start(3 + k), 0, 2, ITERATIONS)
        for x, y in zip(jax.tree.leaves(together.state.policy), jax.tree.leaves(one.state.policy), strict=True):
            np.testing.assert_allclose(x[k], y[0], rtol=1e-4, atol=1e-5)


def test_a_member_may_be_there_several_times():
    slow, fast = (dataclasses.replace(ALGORITHMS["ppo"], learning_rate=rate) for rate in (1e-4, 3e-3))
    driver = CompiledDriver([slow, slow, fast, slow], cartpole(), 4)
    np.testing.assert_array_equal(driver.algorithm.learning_rate, np.float32([1e-4, 1e-4, 3e-3, 1e-4]))


def test_members_of_different_structure_are_refused():
    with pytest.raises(OperantError, match="structure"):
        CompiledDriver([PPO(num_steps=16), PPO(num_steps=32)], cartpole(), 4)


def test_data_does_not_recompile():
    driver = CompiledDriver(ALGORITHMS["ppo"], cartpole(), 4)
    driver.advance(driver.start(0), 0, 1, 2)
    driver.algorithm = jax.tree.map(lambda leaf: leaf * 0.5, driver.algorithm)
    driver.advance(driver.start(1), 0, 2, 7)
    assert driver._advance._cache_size() == 1


class Countdown(Probe):
    """Episodes of 5 steps paid 1 each: the return is 5, whatever window they fall into."""

    length = 5


def test_episodes_across_windows_are_counted_whole():
    driver = CompiledDriver(dataclasses.replace(ALGORITHMS["ppo"], num_steps=8), Compiled(Countdown()), 4)
    carry = driver.advance(driver.start(0), 0, 10, 10)
    totals = carry.totals
    assert float(totals["episode_return"].count[0]) == 4 * 16  # 80 steps hold 16 whole episodes
    for name in ("episode_return", "episode_length"):
        assert float(totals[name].total[0] / totals[name].count[0]) == 5.0


def test_no_episode_ended_is_not_a_number_of_nothing():
    driver = CompiledDriver(dataclasses.replace(ALGORITHMS["ppo"], num_steps=2), Compiled(Countdown()), 4)
    carry = driver.advance(driver.start(0), 0, 1, 1)
    assert float(carry.totals["episode_return"].count[0]) == 0.0
    assert not bool(carry.health.bad[0] if carry.health.bad.ndim else carry.health.bad)


class Poisoned(Probe):
    """The reward is not a number in every episode whose cue is positive, from the third step on."""

    length = 4

    def pay(self, world, action):
        return jnp.where((world.time >= 2) & (world.cue > 0), jnp.nan, 1.0)


class Overflowing(Probe):
    """The observation is infinite in the last step."""

    length = 3

    def observe(self, world):
        return jnp.where(world.time >= 2, jnp.inf, 0.0)[None]


@pytest.mark.parametrize(("probe", "quantity"), [(Poisoned, "reward"), (Overflowing, "observation")])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_not_finite_is_named_and_the_policy_is_held(probe, quantity, name):
    from operant.core.metrics import WATCHED

    driver = CompiledDriver(ALGORITHMS[name], Compiled(probe()), 4)
    carry = driver.advance(driver.start(0), 0, 8, 8)
    fault = np.asarray(carry.health.fault[0])
    first = np.where(fault >= 0, fault, 99)
    assert WATCHED[int(first.argmin())] == quantity
    assert all(np.isfinite(leaf).all() for leaf in leaves(carry.state.policy))


class SometimesPoisoned(Probe):
    """Not a number where the starting cue is positive and `flag` says so: only for some seeds."""

    length = 2

    def reset(self, key, params=None):
        observation, world = super().reset(key, params)
        # One seed in a few meets a poisoned world, by its own random numbers.
        bad = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.004)
        return observation, world._replace(cue=jnp.where(bad, jnp.nan, world.cue))

    def pay(self, world, action):
        return world.cue


def test_a_diverged_seed_does_not_touch_the_others():
    ppo = ALGORITHMS["ppo"]
    driver = CompiledDriver(ppo, Compiled(SometimesPoisoned()), 4, num_seeds=4, batching="map")
    carry = driver.advance(driver.start(0), 0, 4, 4)
    bad = np.asarray(carry.health.fault >= 0).any(axis=1)
    assert bad.any() and not bad.all()
    single = CompiledDriver(ppo, Compiled(SometimesPoisoned()), 4)
    for k in np.flatnonzero(~bad):
        member = jax.tree.map(lambda leaf, k=k: leaf[k : k + 1], carry)
        assert_same(member, single.advance(single.start(int(k)), 0, 4, 4))


def test_whole_episodes_need_a_time_limit():
    class Endless(ObservationAction):
        default_params = None

    with pytest.raises(OperantError, match="time limit"):
        CompiledDriver(ALGORITHMS["reinforce"], Compiled(Endless()), 4)


def test_windows_of_whole_episodes_end_with_the_first_end():
    driver = CompiledDriver(ALGORITHMS["reinforce"], cartpole(), 4)
    carry = jax.tree.map(lambda leaf: leaf[0], driver.start(0))
    window = first_window(driver, carry, 0)
    valid, last = np.asarray(window.valid), np.asarray(window.steps.last)
    for column in range(4):
        length = valid[:, column].sum()
        assert valid[:length, column].all() and last[length - 1, column] and not last[: length - 1, column].any()
        # The steps continue one another: nothing was dropped.
        following = window.steps.next_observation[: length - 1, column]
        np.testing.assert_array_equal(window.steps.observation[1:length, column], following)


@pytest.mark.parametrize("probe", [Memory, Truncation])
def test_memory_restarts_at_ends_and_is_handed_over_as_it_was(probe):
    from operant.parts.networks import GRU

    algorithm = dataclasses.replace(ALGORITHMS["ppo"], network=GRU(4, (4,)), num_steps=4)
    driver = CompiledDriver(algorithm, Compiled(probe()), 4)
    carry = jax.tree.map(lambda leaf: leaf[0], driver.advance(driver.start(0), 0, 3, 8))
    before = carry.memory
    after, window = iterated(driver, carry, 3)
    np.testing.assert_array_equal(window.memory, before)
    assert np.abs(np.asarray(before)).max() > 0 or probe is Memory
    # The memory after the window has started anew after either end, and only there.
    assert np.asarray(window.steps.last)[:-1].any()
    network = carry.state.policy.actor.network
    memory, _, _ = network.unroll(before, window.steps.observation, window.steps.last)
    np.testing.assert_allclose(after.memory, memory, atol=1e-6)


@pytest.mark.parametrize("num_updates", [1, 2])
def test_a_replay_that_gets_a_row_at_a_time_is_not_copied(num_updates):
    # By neither a chunk nor an iteration, not even the column of one dtype.
    algorithm = DQN(num_steps=1, num_updates=num_updates, replay=Uniform(200_000), network=MLP((8,)))
    driver = CompiledDriver(algorithm, make("CartPole-v1"), 1)
    times = jnp.int32(0), jnp.int32(1), jnp.float32(1)
    compiled = driver._advance.lower(driver.algorithm, driver.template(), *times, driver.given).compile()
    least = min(leaf.size * leaf.dtype.itemsize for leaf in driver.template().state.replay.data.values())
    assert compiled.memory_analysis().temp_size_in_bytes < least / 4
