"""The training loop: faults stop it with a checkpoint to go on from, and nothing is lost."""

import errno
import os
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import operant
from operant.algorithms.policy.ppo import PPO
from operant.core import training
from operant.core.metrics import well
from operant.core.runs import checkpoint
from operant.core.runs.journal import Journal
from operant.errors import CheckpointError, DivergedError, OperantError
from operant.parts.networks import MLP
from tests.probes import Probe

tiny = PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((8,)))


class Fragile(gymnasium.Env):
    """Raises in the seventh step of the third episode."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (1,)), gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.episodes = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.episodes == 3 and self.steps == 7:
            raise RuntimeError("the gripper is stuck")
        return np.zeros(1, np.float32), 1.0, False, self.steps == 10, {}


def test_an_environment_that_raises_is_named_after_a_checkpoint(tmp_path):
    with pytest.raises(OperantError, match=r"gripper is stuck.*environment 0, episode step 6, action [01]"):
        operant.train(tiny, Fragile, steps=1_000, num_envs=2, out=tmp_path / "run", progress="none")
    # 26 steps were taken: three windows of 8 were learned from, and that is what is kept.
    assert checkpoint.latest(tmp_path / "run" / "checkpoints")[0] == f"{3 * 8 * 2:015d}"
    operant.resume(tmp_path / "run", environment=Calm, progress="none")


class Calm(Fragile):
    def reset(self, **arguments):
        self.episodes = 0
        return super().reset(**arguments)


class Poison(Probe):
    """The reward becomes NaN, sooner or later."""

    length = 50

    def pay(self, world, action):
        return jnp.where(world.time == 40, jnp.nan, 1.0)


def test_divergence_stops_training_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(DivergedError, match=r"the reward became NaN or infinite by step 96"):
        operant.train(tiny, Poison(), steps=4_000, num_envs=2, out=tmp_path / "run", progress="none")
    kept = tmp_path / "run" / "checkpoints" / checkpoint.latest(tmp_path / "run" / "checkpoints")[0]
    assert int(kept.name) < 96
    agent = operant.load(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(agent.policy))


def test_a_learning_rate_that_explodes_is_noticed():
    wild = PPO(learning_rate=1e30, num_steps=8, num_minibatches=2, network=MLP((8,)))
    with pytest.raises(DivergedError, match=r"the (loss|parameters) became"):
        operant.train(wild, "CartPole-v1", steps=2_000, progress="none")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    from operant.core.runs import files

    calls, write = 0, os.fsync

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        operant.train(tiny, "CartPole-v1", steps=20_000, out=tmp_path / "run", progress="none")
    monkeypatch.undo()
    agent = operant.resume(tmp_path / "run", steps=20_000, progress="none")
    assert agent.history[-1]["steps"] >= 20_000


def test_a_callback_sees_progress_and_can_stop():
    seen = []

    def callback(progress):
        seen.append((progress.steps, progress.total_steps))
        return progress.steps >= 512

    operant.train(tiny, "CartPole-v1", steps=100_000, callback=callback, progress="none")
    assert seen[-1][0] >= 512 and seen[-2][0] < 512 and seen[-1][0] < seen[-1][1] == 100_032


def test_rows_fall_on_the_same_steps_however_chunks_are_cut(monkeypatch):
    histories = []
    for seconds in (1e-6, 10.0):
        monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
        histories.append(operant.train(tiny, "CartPole-v1", steps=6_400, progress="none").history)
    assert histories[0] == histories[1] and len(histories[0]) == 100


class Timed:
    """A driver that does nothing but take time, in seconds.

    A chunk takes `overhead` and at most a tenth more, beside that `each` of an iteration; an empty one comes `late`.
    """

    steps_per_iteration, latest = 1, None

    def __init__(self, overhead, each, late=0.0):
        self.overhead, self.each, self.late, self.now, self.chunks = overhead, each, late, 0.0, []
        self.rng = np.random.default_rng(0)

    def perf_counter(self):
        return self.now

    def advance(self, carry, iteration, count, total):
        took = self.rng.uniform(1.0, 1.1) * self.overhead + (count * self.each(iteration) or self.late)
        self.now += took
        self.chunks.append((count, took))
        return carry

    def cleared(self, carry):
        return carry


@pytest.mark.parametrize("overhead", [0.0, 0.01, 0.2, 2.0])
@pytest.mark.parametrize("each", [1e-3, 0.05, 1.0])
def test_a_chunk_is_some_tenths_of_a_second_of_iterations_whatever_every_chunk_costs(monkeypatch, overhead, each):
    driver = Timed(overhead, lambda iteration: each)
    monkeypatch.setattr(training, "time", driver)
    carry = SimpleNamespace(health=well(), totals={})
    training.run(driver, training.Plan(carry, 0, 2_000, 100_000), Journal([0]))
    assert sum(count for count, _ in driver.chunks) == 2_000
    longest = max(count for count, _ in driver.chunks) * each
    assert 0.15 <= longest <= max(each, 1.001 * (0.3 + 4 * 0.1 * overhead))  # grown fourfold by what came a tenth late


@pytest.mark.parametrize("late", [0.0, 5.0])
def test_iterations_that_come_to_take_longer_shorten_the_chunks(monkeypatch, late):
    driver = Timed(0.5, lambda iteration: 0.2 if iteration >= 1_000 else 1e-5, late)
    monkeypatch.setattr(training, "time", driver)
    carry = SimpleNamespace(health=well(), totals={})
    training.run(driver, training.Plan(carry, 0, 1_500, 10_000), Journal([0]))
    counts = np.array(driver.chunks)[:, 0]
    slow = counts.cumsum() - counts >= 1_000
    assert counts.max() == 100 and sum(counts[slow] > 2) <= 1  # a row's, until one has been slow
