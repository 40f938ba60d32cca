"""Grids: every combination in one program, each the same as alone, told apart in tables, files and pictures."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import operant
from operant import grids
from operant.cli import main
from operant.core.evaluation import evaluator
from operant.core.statistics import Evaluation
from operant.environments import make
from operant.errors import OperantError
from operant.kinds import NUMBER, gridded, single, whole
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy
from operant.parts.networks import MLP
from operant.parts.networks.critics import Separate
from operant.parts.schedules import Linear

TINY = {"num_steps": 16, "num_minibatches": 2, "num_epochs": 1, "network": MLP((4,))}


def test_values_are_split_off_and_put_together_again():
    wide = operant.PPO(learning_rate=[1e-3, 1e-2], clip=(0.1, 0.2, 0.3), critic=Separate(clip=[0.5, 1.0]))
    base, grid = grids.split(wide)
    assert grid == {"learning_rate": [1e-3, 1e-2], "clip": [0.1, 0.2, 0.3], "critic.clip": [0.5, 1.0]}
    assert (base.learning_rate, base.clip, base.critic.clip) == (1e-3, 0.1, 0.5)
    settings = grids.settings_of(grid)
    assert len(settings) == 12 and settings[1] == {"learning_rate": 1e-3, "clip": 0.1, "critic.clip": 1.0}
    members = grids.members_of(base, grid, 24)
    assert members[3] is members[2] and members[2].critic == Separate(clip=1.0)
    assert members[-1] == operant.PPO(learning_rate=1e-2, clip=0.3, critic=Separate(clip=1.0))
    plain = operant.PPO()
    assert grids.split(plain) == (plain, {}) and grids.members_of(plain, {}, 2) == [plain, plain]
    greedy = operant.DQN(exploration=EpsilonGreedy([0.1, 0.2]))
    assert grids.split(greedy)[1] == {"exploration.epsilon": [0.1, 0.2]}
    falling = [Linear(1e-3, 0.0), Linear(1e-2, 0.0)]
    assert grids.split(operant.PPO(learning_rate=falling))[1] == {"learning_rate": falling}
    assert grids.written({"learning_rate": falling[0], "clip": 0.1})["learning_rate"].startswith("linear(0.001")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"num_steps": [8, 16]}, "num_steps cannot be in a grid: each of its values is another program"),
        ({"network": [MLP(), MLP((4,))]}, "network cannot be in a grid"),
        ({"learning_rate": [1e-3, Linear(1e-3, 0.0)]}, "learning_rate: a grid's values must be alike"),
        ({"target_kl": [None, 0.1]}, "target_kl: a grid's values must be alike"),
        ({"clip": [0.1, 0.1]}, "clip: a grid needs values, each of them once"),
        ({"clip": []}, "clip: a grid needs values"),
        ({"clip": [0.1, -0.1]}, "PPO's clip must be at least 0, not -0.1"),
        ({"clip": [0.1, "wide"]}, "PPO's clip must be a finite number"),
        ({"clip": list(range(1, 200)), "discount": list(np.linspace(0, 1, 99))}, "a grid of 19,701 settings"),
    ],
)
def test_what_is_no_grid_is_told_in_one_line(fields, told, tmp_path):
    with pytest.raises(OperantError) as caught:
        operant.train("ppo", "CartPole-v1", steps=8, out=tmp_path / "run", progress="none", **fields)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_flags_read_several_values_and_say_why_others_do_not():
    kind = gridded(NUMBER)
    assert kind.read("1e-3") == 1e-3 and kind.read("1e-3, 2") == [1e-3, 2.0]
    assert kind.show([0.1, 0.2]) == "0.1,0.2" and kind.read(kind.show(0.5)) == 0.5
    with pytest.raises(ValueError, match="another program"):
        single(whole()).read("64,128")
    with pytest.raises(ValueError, match="a whole number"):
        single(whole()).read("many")


def test_64_members_are_each_what_they_are_alone():
    axes = {
        "learning_rate": [1e-4, 1e-3, 1e-2, 1e-1],
        "clip": [0.05, 0.1, 0.2, 0.4],
        "entropy_coefficient": [0, 0.01, 0.1, 1],
    }
    grid = operant.train("ppo", "CartPole-v1", steps=256, seed=5, progress="none", **axes, **TINY)
    assert isinstance(grid, grids.Grid) and len(grid) == len(grid.settings) == 64
    assert repr(grid) == "Grid(64 settings of 1 x Agent(ppo on CartPole-v1))"
    number = 2 * 16 + 1 * 4 + 3
    setting = grid.settings[number]
    assert setting == {"learning_rate": 1e-2, "clip": 0.1, "entropy_coefficient": 1}
    agent = grid[number]
    assert agent.algorithm.clip == 0.1 and agent.description["fields"]["entropy_coefficient"] == 1
    assert agent.description["seeds"] == [5 + number] and grid.of(number)[0] is agent
    alone = operant.train("ppo", "CartPole-v1", steps=256, seed=5 + number, progress="none", **setting, **TINY)
    for ours, theirs in zip(*map(jax.tree.leaves, (agent.policy, alone.policy)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    assert (
        max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (agent.policy, grid[0].policy)), strict=True))
        > 0.01
    )
    results = grid.evaluate_settings(episodes=2)
    assert len(results) == 64 and all(isinstance(result, Evaluation) for result in results)
    np.testing.assert_allclose(results[number].mean, alone.evaluate(2).mean)


@component
class Pusher:
    """Pushes right where the pole leans further right than `angle`."""

    angle: float = 0.0

    def start(self, policy, key, spec):
        return ()

    def act(self, policy, memory, observation, key, context, *, explore):
        return (), jnp.int32(observation[:, 2] > self.angle), ()


@pytest.mark.parametrize("backend", ["compiled", "gymnasium"])
def test_each_policy_is_evaluated_with_its_own_algorithm(backend):
    world, policies = make("CartPole-v1", 2, backend), jnp.zeros((2, 1))
    always, leaning = evaluator([Pusher(-9.0), Pusher(0.0)], world, 4)(policies, 0)
    (alone,) = evaluator(Pusher(0.0), world, 4)(policies[:1], 0)
    np.testing.assert_array_equal(leaning.returns, alone.returns)
    assert always.returns.max() < 12 < leaning.returns.min()


def test_a_grid_on_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    argv = ["train", "ppo", "CartPole-v1", "--learning-rate", "1e-3,linear(1e-2,0)"]
    assert main([*argv, "--out", str(out)]) == 2 and "must be alike" in capsys.readouterr().err
    argv = ["train", "ppo", "CartPole-v1", "--learning-rate", "1e-5,1e-2", "--clip", "0.1,0.2", "--num-seeds", "2"]
    small = ["--num-steps", "16", "--num-epochs", "1", "--num-minibatches", "2", "--network.hidden", "4"]
    run = ["--steps", "256", "--episodes", "3", "--no-gif", "--json", "--out", str(out)]
    assert main([*argv, *small, *run]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out.splitlines()[-1])
    assert told["seeds"] == list(range(8))
    rows = told["evaluation"]["settings"]
    assert [row["setting"] for row in rows] == [
        {"learning_rate": rate, "clip": clip} for rate in (1e-5, 1e-2) for clip in (0.1, 0.2)
    ]
    for row in rows:
        assert len(row["per_seed"]) == 2 and row["low"] <= row["mean"] <= row["high"] and row["episodes"] == 6
    best = max(rows, key=lambda row: row["mean"])
    assert told["evaluation"]["best"]["setting"] == best["setting"]
    assert len(told["evaluation"]["best"]["fresh"]["per_seed"]) == 2
    assert "4 settings of 2 seeds" in said.err and "which flatters it" in said.err and "--seed 8" in said.err
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")

    loaded = operant.load(out)
    assert isinstance(loaded, grids.Grid) and loaded.settings[3] == {"learning_rate": 1e-2, "clip": 0.2}
    assert loaded[7].algorithm.learning_rate == 1e-2 and loaded[1].algorithm.clip == 0.1
    assert [result.mean for result in loaded.evaluate_settings(3)] == pytest.approx([row["mean"] for row in rows])
    loaded[7].save(tmp_path / "one")
    assert operant.load(tmp_path / "one").algorithm == loaded[7].algorithm

    damaged = json.loads((out / "run.json").read_text())
    for wrong in ({"clip": [0.1, 0.2, 0.3]}, {"colour": [1.0, 2.0]}, {"num_steps": [1, 2]}, {"clip.x": [1.0, 2.0]}):
        (out / "run.json").write_text(json.dumps(damaged | {"grid": wrong}))
        with pytest.raises(OperantError) as caught:
            operant.load(out)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_grid_on_gymnasium_is_resumed_as_a_grid(tmp_path):
    grid = operant.train(
        "ppo", "CartPole-v1", backend="gymnasium", steps=64, num_envs=2, out=tmp_path / "run", progress="none",
        learning_rate=[1e-3, 1e-1], num_epochs=1, num_steps=16, num_minibatches=2, network=MLP((4,)),
    )  # fmt: skip
    more = operant.resume(tmp_path / "run", steps=128, progress="none")
    assert isinstance(more, grids.Grid) and more.settings == grid.settings == [
        {"learning_rate": 1e-3},
        {"learning_rate": 1e-1},
    ]
    assert [agent.history[-1]["steps"] for agent in more] == [128, 128]
    moved = [
        max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (old.policy, new.policy)), strict=True))
        for old, new in zip(grid, more, strict=True)
    ]
    assert moved[1] > 10 * moved[0] > 0
