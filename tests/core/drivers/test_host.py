"""The host driver: the compiled driver's algorithms on Gymnasium environments."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.value.dqn import DQN
from operant.core.drivers.host import HostDriver
from operant.environments import Host, make
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.replay import Uniform
from tests.probes import ContinuousAction, Memory, Truncation, as_gymnasium

SMALL = MLP((16,))
ppo = PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=SMALL)
dqn = DQN(num_steps=4, warmup=16, batch_size=16, replay=Uniform(256), network=SMALL)
reinforce = REINFORCE(network=SMALL)


def driver_on(probe, algorithm, count=4):
    return HostDriver(algorithm, Host([as_gymnasium(probe)] * count))


def recorded(driver):
    """The windows that `learn` gets, in order."""
    windows, learn = [], driver._learn

    def spy(algorithm, carry, window, ratios, clock):
        windows.append(window)
        return learn(algorithm, carry, window, ratios, clock)

    driver._learn = spy
    return windows


@pytest.mark.parametrize("algorithm", [ppo, dqn, reinforce], ids=["ppo", "dqn", "reinforce"])
def test_a_seed_repeats_itself(algorithm):
    def policy(seed):
        driver = HostDriver(algorithm, make("CartPole-v1", 2, "gymnasium", {"max_episode_steps": 30}))
        return jax.tree.leaves(driver.advance(driver.start(seed), 0, 8, 8).state.policy)

    first, again, other = policy(0), policy(0), policy(1)
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(first, other, strict=True))


def test_windows_continue_one_another_and_know_both_ends():
    driver = driver_on(Truncation, dataclasses.replace(ppo, network=GRU(4, (4,))))
    windows = recorded(driver)
    driver.advance(driver.start(0), 0, 3, 3)
    steps = jax.tree.map(lambda *parts: np.concatenate(parts), *(window.steps for window in windows))
    assert steps.truncated.any() and not steps.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated[:, 0]), [4, 9, 14, 19])


@pytest.mark.parametrize("probe", [Memory, Truncation])
def test_memory_restarts_at_ends_and_is_handed_over_as_it_was(probe):
    driver = driver_on(probe, dataclasses.replace(ppo, network=GRU(4, (4,)), num_steps=4))
    windows = recorded(driver)
    carry = driver.start(0)
    policy = jax.tree.map(jnp.copy, carry.state.policy)
    # A learning rate of zero, so that one policy explains every window.
    driver.algorithm = jax.tree.map(jnp.zeros_like, driver.algorithm)
    driver.advance(carry, 0, 3, 3)
    memory = policy.actor.network.start(4)
    for window in windows:
        np.testing.assert_allclose(window.memory, memory, atol=1e-6)
        memory, _, _ = policy.actor.network.unroll(memory, jnp.asarray(window.steps.observation), window.steps.last)


def test_actions_are_kept_as_they_were_drawn_each_with_noise_of_its_own():
    driver = driver_on(ContinuousAction, dataclasses.replace(ppo, learning_rate=0.0, normalise=()))
    windows = recorded(driver)
    carry = driver.start(0)
    actor, noise = jax.tree.map(jnp.copy, carry.state.policy.actor), []
    driver.advance(carry, 0, 2, 2)
    for window in windows:
        _, mean, _ = actor.network.unroll((), jnp.asarray(window.steps.observation), window.steps.last)
        action, mean = np.asarray(window.steps.action), np.asarray(mean, np.float64)
        assert np.abs(action).max() > 1  # beyond the environment's bounds
        np.testing.assert_allclose(window.steps.extras, norm.logpdf(action, mean, 1.0).sum(-1), rtol=1e-4, atol=1e-4)
        noise.append(action - mean)
    assert np.unique(np.round(noise, 4)).size == np.size(noise)


def test_whole_episodes_end_with_their_first_end_and_are_padded():
    driver = HostDriver(reinforce, make("CartPole-v1", 3, "gymnasium", {"max_episode_steps": 30}))
    windows = recorded(driver)
    carry = driver.advance(driver.start(0), 0, 2, 2)
    lengths = 0
    for window in windows:
        assert window.valid.shape == (30, 3)
        for column in range(3):
            length = int(window.valid[:, column].sum())
            assert window.valid[:length, column].all()
            last = np.asarray(window.steps.last)[:length, column]
            assert last[-1] and not last[:-1].any()
            lengths += length
    total = carry.totals["episode_length"]
    assert (float(total.total), float(total.count)) == (lengths, 6)
    assert float(carry.totals["episode_return"].total) == lengths  # a reward of one a step


def test_episodes_across_windows_are_counted_whole():
    driver = driver_on(Truncation, ppo)
    carry = driver.advance(driver.start(0), 0, 10, 10)
    total = carry.totals["episode_return"]
    assert (float(total.total / total.count), float(total.count)) == (5.0, 64)


def test_whole_episodes_need_a_time_limit():
    class Endless(gymnasium.Env):
        observation_space, action_space = gymnasium.spaces.Box(-1, 1, (1,)), gymnasium.spaces.Discrete(2)

        def reset(self, **arguments):
            return np.zeros(1, np.float32), {}

    with pytest.raises(OperantError, match="time limit"):
        HostDriver(reinforce, Host([Endless]))


def test_the_template_is_the_carrys():
    for algorithm in (ppo, dqn, reinforce):
        driver = driver_on(Truncation, algorithm)
        shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(driver.template())]
        carry = driver.advance(driver.start(0), 0, 2, 2)
        assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(carry)] == shapes
