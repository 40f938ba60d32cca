"""Killed at any moment and resumed, a run ends with the same bits as one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import gymnasium
import jax
import numpy as np
import pytest

import operant
from operant.core.data.datasets import Dataset
from operant.core.runs import checkpoint
from operant.parts.networks import GRU, MLP
from operant.parts.replay import Prioritised

# Small enough to be quick, long enough to be killed half-way; DQN's replay is full and wraps around.
RUNS = {
    "ppo": {"steps": 98_304, "num_envs": 8, "num_steps": 32, "num_minibatches": 2, "num_epochs": 2},
    "dqn": {"steps": 40_000, "num_envs": 4, "num_steps": 4, "warmup": 500, "batch_size": 32},
    # With priorities, returns that look ahead in the ring, and noise.
    "rainbow": {"steps": 20_000, "num_envs": 4, "num_steps": 4, "warmup": 500, "batch_size": 32},
    "cql": {"steps": 40_000, "batch_size": 32, "replay": Prioritised(1_000)},  # from a dataset
}
SCRIPT = """
import sys, operant
from operant.core import training
from operant.parts.replay import Prioritised, Whole
from operant.parts.schedules import Linear
training.CHUNK_SECONDS, training.CHECKPOINTS = 0.02, 40
name, out, fields = sys.argv[1], sys.argv[2], eval(sys.argv[3])
if sys.argv[4] == "train":
    operant.train(name, "CartPole-v1", seed=5, out=out, progress="none", **fields)
else:
    operant.resume(out, progress="none")
"""


def start(name, fields, out, how):
    command = [sys.executable, "-c", SCRIPT, name, str(out), repr(fields), how]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def newest(out):
    names = checkpoint.latest(out / "checkpoints")
    return int(names[0]) if names else -1


def kill_after(process, out, seconds, moment):
    """Wait for a checkpoint beyond what was there, then a moment more, then kill; false if it finished first."""
    before, begun = newest(out), time.monotonic()
    while newest(out) <= before and process.poll() is None:
        assert time.monotonic() - begun < seconds, "no checkpoint in time"
        time.sleep(0.005)
    time.sleep(moment)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def check(name, kills, tmp_path):
    fields = RUNS[name] | ({"dataset": records(tmp_path / "records")} if name == "cql" else {})
    whole = operant.train(name, "CartPole-v1", seed=5, out=tmp_path / "whole", progress="none", **fields)
    chance, done, out = random.Random(0), 0, tmp_path / "killed"
    how = "train"
    while done < kills:
        process = start(name, fields, out, how)
        killed = kill_after(process, out, 120, chance.uniform(0.0, 0.25))
        assert killed or process.returncode == 0
        done += killed
        how = "resume"
        if not killed:  # finished: begin another run, so that every kill falls into training
            compare(whole, operant.load(out))
            out, how = tmp_path / f"killed-{done}", "train"
    agent = operant.resume(out, progress="none")
    compare(whole, agent)
    assert agent.history == whole.history


def records(path):
    """What random actions did in CartPole, as a dataset."""
    world, rows = gymnasium.make("CartPole-v1"), []
    observation, _ = world.reset(seed=0)
    world.action_space.seed(0)
    for _ in range(500):
        action = world.action_space.sample()
        after, reward, terminated, truncated, _ = world.step(action)
        rows.append((observation, action, reward, terminated, truncated, after))
        observation = world.reset()[0] if terminated or truncated else after
    Dataset(world.observation_space, world.action_space, *map(np.array, zip(*rows, strict=True))).save(path)
    return str(path)


def compare(whole, agent):
    for x, y in zip(jax.tree.leaves(whole.policy), jax.tree.leaves(agent.policy), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("name", ["dqn"])  # the others are killed twenty times, by the slow test below
def test_killed_and_resumed_it_ends_with_the_same_bits(name, tmp_path):
    check(name, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_twenty_times_it_ends_with_the_same_bits(name, tmp_path):
    check(name, 20, tmp_path)


# With priorities and returns of several steps; with sequences, whose memory and first steps are of the window before.
STOPPED = {
    "dqn": {"num_steps": 4, "replay": Prioritised(1_000), "network": MLP((8,))},
    "drqn": {"num_steps": 16, "burn_in": 8, "replay": Prioritised(100), "network": GRU(8, (8,)), "num_updates": 1},
}


@pytest.mark.parametrize("name", STOPPED)
def test_what_the_replay_and_the_streams_hold_is_resumed(name, tmp_path):
    fields = {"steps": 4_000, "num_envs": 2, "warmup": 100, "batch_size": 16, "n_step": 3}
    fields |= {"progress": "none", "log": ()} | STOPPED[name]
    whole = operant.train(name, "CartPole-v1", out=tmp_path / "whole", preset="none", **fields)
    stop = lambda progress: progress.steps >= 1_000  # noqa: E731
    part = operant.train(name, "CartPole-v1", out=tmp_path / "part", callback=stop, preset="none", **fields)
    assert 1_000 <= part.history[-1]["steps"] < 4_000
    agent = operant.resume(tmp_path / "part", progress="none")
    compare(whole, agent)


def test_an_extended_run_holds_its_schedules_at_their_ends(tmp_path):
    fields = RUNS["ppo"] | {"steps": 2_048}
    operant.train("ppo", "CartPole-v1", out=tmp_path / "run", progress="none", **fields)
    # The learning rate ended at zero, so nothing moves any more.
    before = operant.load(tmp_path / "run")
    after = operant.resume(tmp_path / "run", steps=4_096, progress="none")
    compare(before, after)
    assert after.history[-1]["steps"] == 4_096


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, capsys):
    out = tmp_path / "run"
    whole = operant.train("ppo", "CartPole-v1", out=out, progress="none", **RUNS["ppo"] | {"steps": 10_240})
    newest = out / "checkpoints" / checkpoint.latest(out / "checkpoints")[0]
    file = next(newest.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # the file may be shared with another checkpoint
    file.write_bytes(content)
    agent = operant.resume(out, progress="none")
    assert newest.name in capsys.readouterr().err
    compare(whole, agent)
