"""The training loop: faults stop it with a checkpoint to go on from, and nothing is lost."""

import errno
import os

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import operant
from operant.algorithms.policy.ppo import PPO
from operant.core import checkpoint
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
    from operant.core import _files

    calls, write = 0, os.fsync

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor)

    monkeypatch.setattr(_files.os, "fsync", full)
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
    from operant.core import training

    histories = []
    for seconds in (1e-6, 10.0):
        monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
        histories.append(operant.train(tiny, "CartPole-v1", steps=6_400, progress="none").history)
    assert histories[0] == histories[1] and len(histories[0]) == 100
