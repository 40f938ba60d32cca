"""Evaluation while training: it changes nothing, keeps the best, stops in time, and survives being killed."""

import jax
import numpy as np
import pytest

import operant
from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder
from operant.core.selection import Selection
from operant.core.statistics import Evaluation
from operant.errors import CheckpointError, OperantError
from operant.parts.networks import MLP
from tests.core.test_training import Calm

FIELDS = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 1, "network": MLP((8,)), "progress": "none"}


def equal(first, second):
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def evaluations(agent):
    return [(row["steps"], row["evaluation/mean"]) for row in agent.history if "evaluation/mean" in row]


@pytest.mark.parametrize("backend", ["compiled", "gymnasium"])
def test_evaluation_changes_nothing_in_training(backend):
    arguments = {"steps": 700, "num_envs": 2, "seed": 3, "backend": backend} | FIELDS
    watched = operant.train("ppo", "CartPole-v1", evaluate_every=300, **arguments)
    plain = operant.train("ppo", "CartPole-v1", **arguments)
    equal(watched.policy, plain.policy)
    assert [row for row in watched.history if "evaluation/mean" not in row] == plain.history
    # Every 300 steps is every 19 windows of 16; and at the end.
    assert [steps for steps, _ in evaluations(watched)] == [304, 608, 704]
    assert watched.best_steps in (304, 608, 704) and plain.best is None


def selection(scores, stop_at=None):
    """A `Selection` of two seeds whose evaluations have the mean returns of `scores`, one pair after the other."""
    chosen = Selection.__new__(Selection)
    chosen.every, chosen.stop_at, chosen.best, chosen.reached, chosen._seeds = 1, stop_at, None, False, [5, 6]
    pairs = iter(scores)

    def evaluate(policies, seed):
        return [Evaluation(np.array([] if s is None else [s]), np.array([] if s is None else [3])) for s in next(pairs)]

    chosen._evaluate = evaluate
    return chosen


def test_the_best_of_each_seed_is_kept_the_first_of_equals():
    chosen = selection([(1.0, None), (1.0, 4.0), (0.5, 9.0), (2.0, None)])
    for number in range(4):
        rows = chosen({"w": np.full((2, 3), number)}, 10 * number)
    assert chosen.best.steps == [30, 20] and chosen.best.means == [2.0, 9.0]
    np.testing.assert_array_equal(chosen.best.policies["w"], [[3, 3, 3], [2, 2, 2]])
    assert rows[0] == {
        "steps": 30, "seed": 5, "evaluation/episodes": 1, "evaluation/mean": 2.0, "evaluation/iqm": 2.0,
        "evaluation/low": 2.0, "evaluation/high": 2.0, "evaluation/length": 3.0,
    }  # fmt: skip
    assert rows[1]["evaluation/mean"] is None and rows[1]["evaluation/length"] is None


def test_the_end_is_reached_once_every_seed_is_good_enough():
    chosen = selection([(9.0, 4.0), (4.0, 9.0), (None, 9.0), (9.0, 9.0)], stop_at=9.0)
    reached = []
    for number in range(4):
        chosen({"w": np.zeros((2, 1))}, number)
        reached.append(chosen.reached)
    assert reached == [False, False, False, True]


def test_training_stops_at_a_return():
    agent = operant.train("ppo", "CartPole-v1", steps=100_000, num_envs=2, stop_at=1.0, **FIELDS)
    # Alone, it is looked for 20 times in a run; any policy holds the pole up for a step.
    assert evaluations(agent)[0][0] == agent.outcome.progress.steps == 5_008
    assert agent.outcome.interrupted


def test_a_run_that_was_good_enough_goes_on_when_it_is_resumed(tmp_path):
    arguments = {"steps": 640, "num_envs": 2, "evaluate_every": 64, "stop_at": 1.0, "out": tmp_path / "run"} | FIELDS
    assert operant.train("ppo", "CartPole-v1", **arguments).history[-1]["steps"] == 64
    assert operant.resume(tmp_path / "run", progress="none").history[-1]["steps"] == 640


def test_best_and_last_are_both_loaded_and_a_resumed_run_has_the_same(tmp_path):
    arguments = {"steps": 640, "num_envs": 2, "evaluate_every": 64, "num_seeds": 2} | FIELDS
    whole = operant.train("ppo", "CartPole-v1", out=tmp_path / "whole", **arguments)
    best, last = (operant.load(tmp_path / "whole", which=which) for which in ("best", "last"))
    for k in range(2):
        equal(best[k].policy, whole[k].best.policy)
        equal(last[k].policy, whole[k].policy)
        equal(last[k].best.policy, whole[k].best.policy)
        scores = dict(evaluations(whole[k]))
        # The first of the highest, as the rows say.
        assert whole[k].best_steps == max(scores, key=scores.get) == last[k].best_steps

    def stop(progress):
        return progress.steps >= 350

    operant.train("ppo", "CartPole-v1", out=tmp_path / "cut", callback=stop, **arguments)
    # As if killed in between: the newest checkpoint is one of those on the way.
    for kind in ("checkpoints", "policies", "best"):
        names = checkpoint.latest(tmp_path / "cut" / kind)
        assert len(names) == 2
        checkpoint.prune(tmp_path / "cut" / kind, keep=0, also=names[1:])
    resumed = operant.resume(tmp_path / "cut", progress="none")
    for k in range(2):
        equal(resumed[k].policy, whole[k].policy)
        equal(resumed[k].best.policy, whole[k].best.policy)
        assert resumed[k].history == whole[k].history and resumed[k].best_steps == whole[k].best_steps


def test_what_a_damaged_best_policy_says_is_refused(tmp_path):
    arguments = {"steps": 64, "num_envs": 2, "evaluate_every": 64} | FIELDS
    operant.train("ppo", "CartPole-v1", out=tmp_path / "run", **arguments)
    folder = RunFolder(tmp_path / "run")
    checkpoint.save(folder.best, "9" * 15, operant.load(folder.path).policy, {"steps": ["soon"], "means": [1.0]})
    with pytest.raises(CheckpointError, match="best"):
        operant.load(folder.path, which="best")


def test_what_cannot_be_evaluated_is_said(tmp_path):
    tiny = operant.PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((8,)))
    with pytest.raises(OperantError, match="evaluate_every needs environments of its own beside Calm"):
        operant.train(tiny, Calm(), steps=64, evaluate_every=32, progress="none")
    operant.train("ppo", "CartPole-v1", steps=16, num_envs=2, out=tmp_path / "run", **FIELDS)
    with pytest.raises(OperantError, match="no best policy"):
        operant.load(tmp_path / "run", which="best")
    with pytest.raises(OperantError, match="known: best, last"):
        operant.load(tmp_path / "run", which="first")
