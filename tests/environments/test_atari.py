"""Atari games: what is observed, where episodes end, what only training sees, and a short training run."""

import sys

import jax
import numpy as np
import pytest

import operant
from operant.core.drivers.loop import Loop
from operant.environments import make
from operant.errors import OperantError
from operant.parts.networks import NatureCNN
from operant.parts.replay import Frames, Uniform
from operant.parts.replay.transitions import Transition, example_of

BREAKOUT, STILL = "ALE/Breakout-v5", {"repeat_action_probability": 0.0, "noop_max": 0}


@pytest.fixture
def ale():
    return pytest.importorskip("ale_py")


def stepped(world, count, seed=0):
    """Random steps: `(observation before, transition)` of each."""
    rng, observation, seen = np.random.default_rng(seed), world.reset(seed), []
    for _ in range(count):
        step = world.step(rng.integers(0, world.action_space.n, world.num_envs).astype(np.int32))
        seen.append((observation, step))
        observation = step.observation
    return seen


def test_four_grey_frames_are_observed_the_newest_last(ale):
    world = make(BREAKOUT, 2)
    assert world.observation_space.shape == (84, 84, 4) and world.observation_space.dtype == np.uint8
    assert world.time_limit == 27_000 and world.ours and world.spec().num_envs == 2
    changed = 0
    for before, step in stepped(world, 60):
        assert step.next_observation.dtype == np.uint8 and step.reward.dtype == np.float32
        np.testing.assert_array_equal(step.next_observation[..., :3], before[..., 1:])
        changed += (step.next_observation[..., 3] != before[..., 3]).any()
    assert changed > 30 and before.max() > 100
    world.close()


@pytest.mark.slow  # tests/parts/replay/test_frames.py has the same on stacks of its own
def test_frames_that_are_kept_once_give_the_same_observations(ale):
    world = make(BREAKOUT, 2, training=True)
    row, _ = example_of(world.spec(), 1)
    frames, whole = Uniform(600, Frames(4)), Uniform(600)
    states = [replay.init(row, 2, 2) for replay in (frames, whole)]
    push = [jax.jit(replay.push) for replay in (frames, whole)]
    ends = 0
    for before, step in stepped(world, 300):
        action = np.zeros(2, np.int32)
        rows = Transition(before, action, step.reward, 1 - step.terminated.astype(np.float32), step.next_observation)
        states = [write(state, rows) for write, state in zip(push, states, strict=True)]
        ends += step.terminated.sum()
    assert ends > 5
    # Not yet full, so that both have the same rows in the same places.
    index = np.arange(600)
    got, expected = (replay.rows(state, index) for replay, state in zip((frames, whole), states, strict=True))
    np.testing.assert_array_equal(got.observation, expected.observation)
    np.testing.assert_array_equal(got.reward, expected.reward)
    valued = np.asarray(expected.continues) > 0
    np.testing.assert_array_equal(got.next_observation[valued], expected.next_observation[valued])
    world.close()


def test_a_life_ends_an_episode_in_training_alone_and_the_game_goes_on(ale):
    training, playing = (make(BREAKOUT, 2, kwargs=STILL, training=training) for training in (True, False))
    lost = over = 0
    for (_, ours), (_, theirs) in zip(stepped(training, 300), stepped(playing, 300), strict=True):
        # One and the same game, step for step: nothing was reset where only a life was lost.
        np.testing.assert_array_equal(ours.observation, theirs.observation)
        np.testing.assert_array_equal(ours.next_observation, theirs.next_observation)
        assert (ours.terminated >= theirs.terminated).all() and not ours.truncated.any()
        only = ours.terminated & ~theirs.terminated
        np.testing.assert_array_equal(ours.next_observation[only], ours.observation[only])
        for slot in np.flatnonzero(theirs.terminated):
            assert (ours.next_observation[slot] != ours.observation[slot]).any()
        lost, over = lost + only.sum(), over + theirs.terminated.sum()
    assert over >= 2 and 4 * over <= lost <= 4 * (over + 2)  # of five lives the last is the game's end
    training.close(), playing.close()


def test_rewards_are_clipped_in_training_alone(ale):
    training, playing = (make("ALE/Qbert-v5", 2, kwargs=STILL, training=training) for training in (True, False))
    pairs = zip(stepped(training, 200), stepped(playing, 200), strict=True)
    ours, theirs = np.array([(a.reward, b.reward) for (_, a), (_, b) in pairs]).transpose(1, 0, 2)
    assert theirs.max() >= 25
    np.testing.assert_array_equal(ours, np.clip(theirs, -1, 1))
    training.close(), playing.close()


def test_a_limit_truncates_with_the_true_final_observation(ale):
    world = make(BREAKOUT, 2, kwargs={"max_num_frames_per_episode": 40, "noop_max": 0})
    assert world.time_limit == 10
    seen = stepped(world, 40)
    assert not any(step.terminated.any() for _, step in seen)
    ends = np.array([step.truncated for _, step in seen])
    np.testing.assert_array_equal(np.diff(np.flatnonzero(ends[:, 0])), np.diff(np.flatnonzero(ends[:, 1])))
    assert 3 <= ends[:, 0].sum() <= 5
    for before, step in seen:
        np.testing.assert_array_equal(step.next_observation[..., :3], before[..., 1:])
    world.close()


def test_sticky_actions_are_those_of_the_id(ale):
    runs = [[step.observation for _, step in stepped(make(BREAKOUT, 1, kwargs=given), 80)] for given in ({}, STILL)]
    again = [step.observation for _, step in stepped(make(BREAKOUT, 1), 80)]
    assert all((one == other).all() for one, other in zip(runs[0], again, strict=True))
    assert any((one != other).any() for one, other in zip(*runs, strict=True))


@pytest.mark.parametrize("name", ["dqn", pytest.param("ppo", marks=pytest.mark.slow)])
def test_a_short_training_run(ale, name, tmp_path, monkeypatch):
    windows, learn = [], Loop.learn

    def watched(self, carry):
        rollout = self.rollout
        windows.append([(s.observation, s.action, s.reward, s.terminated, s.truncated) for s in rollout._steps])
        return learn(self, carry)

    monkeypatch.setattr(Loop, "learn", watched)
    length = {"dqn": 40, "ppo": 10}[name]
    fields = {"network": NatureCNN(hidden=(8,)), "num_steps": length, "num_envs": 2, "steps": 8 * length}
    if name == "dqn":
        fields |= {"replay": Uniform(400, Frames()), "warmup": 100, "batch_size": 4, "num_updates": 3}
    else:
        fields |= {"num_epochs": 1, "num_minibatches": 2, "normalise": ()}
    agent = operant.train(name, BREAKOUT, out=tmp_path / "run", preset="none", progress="none", log=(), **fields)
    steps = [step for window in windows for step in window]
    assert len(steps) == 4 * length
    for observation, action, reward, *_ in steps:
        assert observation.shape == (2, 84, 84, 4) and observation.dtype == np.uint8
        assert action.shape == (2,) and set(np.unique(reward)) <= {-1.0, 0.0, 1.0}
    assert not any(step[4].any() for step in steps)
    for row in agent.history:
        assert all(np.isfinite(value) for value in row.values() if value is not None), row
    assert any(row.get("loss", row.get("policy_loss")) is not None for row in agent.history)
    if name == "dqn":
        assert sum(step[3].sum() for step in steps) >= 2  # lives
        assert set(agent.outcome.carry.state.replay.frames.data) == {"uint8"}  # each kept once
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(agent.policy) if hasattr(leaf, "dtype"))
    loaded = operant.load(tmp_path / "run")
    assert int(loaded.act(steps[-1][0][0])) in range(4)


def test_what_cannot_be_made_is_one_line(ale):
    for name, given, words in (
        ("ALE/Breakout-v4", {}, "unknown environment 'ALE/Breakout-v4'.*ALE/Breakout-v5"),
        (BREAKOUT, {"colour": 1}, "unknown parameter of ALE/Breakout-v5 'colour'"),
        (BREAKOUT, {"episodic_life": True}, "unknown parameter"),
        (BREAKOUT, {"frameskip": -1}, "could not be made"),
        (BREAKOUT, {"stack_num": 0}, "stack_num must be at least 1, not 0"),
    ):
        with pytest.raises(OperantError, match=words) as error:
            make(name, 1, kwargs=given)
        assert "\n" not in str(error.value)
    with pytest.raises(OperantError, match="no compiled backend"):
        make(BREAKOUT, 1, "compiled")
    with pytest.raises(OperantError, match="which actors cannot share: ppo trains on it"):
        operant.train("a3c", BREAKOUT, num_actors=2, num_envs=2, progress="none")


def test_without_ale_py_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(OperantError, match=r"needs ale-py .*pip install 'operant\[atari\]'") as error:
        operant.train("dqn", BREAKOUT, progress="none")
    assert "\n" not in str(error.value)
