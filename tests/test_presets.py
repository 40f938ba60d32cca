"""Presets: each can be built and is used, printed and overridden; whether it keeps its promise, test_learning shows."""

import json

import gymnasium
import pytest

import operant
from operant import catalogue, presets
from operant.arguments import Settings, find_preset, make_algorithm, preset_told
from operant.cli import main
from operant.environments import make
from operant.environments.atari import is_game
from operant.parts.networks import MLP
from operant.presets import Gate, Preset

EVERY = list(presets.every())
GATE = Gate(1.0, 10, ("compiled",), "this test")
OWN = Preset("ppo", "CartPole-v1", 64, 2, {
    "learning_rate": 0.001, "num_steps": 8, "num_minibatches": 2, "network": {"type": "MLP", "hidden": [4]}
}, GATE)  # fmt: skip


@pytest.fixture
def own(monkeypatch):
    """A preset that is not the algorithm's default, in the place of the package's."""
    monkeypatch.setattr(presets, "of", lambda name: {"CartPole-v1": OWN} if name == "ppo" else {})


@pytest.mark.parametrize("preset", EVERY, ids=lambda preset: f"{preset.algorithm}-{preset.environment}")
def test_every_preset_can_be_used(preset):
    if is_game(preset.environment):
        pytest.importorskip("ale_py")
    elif preset.environment in gymnasium.registry and "mujoco" in str(gymnasium.spec(preset.environment).entry_point):
        pytest.importorskip("mujoco")
    algorithm = make_algorithm(preset.algorithm, {}, preset)
    world = make(preset.environment, preset.num_envs)
    algorithm.check(world.spec(preset.num_envs) if hasattr(world, "params") else world.spec())
    settings = Settings(preset.steps, preset.num_envs, num_seeds=preset.gate.seeds)
    assert preset_told(preset, algorithm, settings).startswith(f"preset {preset.algorithm} {preset.environment}: steps")
    assert preset.gate.seeds >= 10 and preset.gate.source
    assert set(preset.gate.backends) <= {"compiled", "gymnasium"} and preset.gate.backends


def test_what_there_is():
    found = {(preset.algorithm, preset.environment) for preset in EVERY}
    assert found >= {
        ("ppo", "CartPole-v1"),
        ("ppo", "Pendulum-v1"),
        ("ppo", "Breakout-MinAtar"),
        ("ppo", "Freeway-MinAtar"),
        ("ppo", "SpaceInvaders-MinAtar"),
        ("ppo", "CartPolePositions-v1"),
        ("ppo", "MemoryChain-bsuite"),
        ("dqn", "CartPole-v1"),
        ("dqn", "ALE/Breakout-v5"),
        ("ppo", "ALE/Pong-v5"),
        ("reinforce", "CartPole-v1"),
        ("a2c", "CartPole-v1"),
        ("a3c", "CartPole-v1"),
        ("vpg", "CartPole-v1"),
        ("trpo", "CartPole-v1"),
        ("trpo", "Pendulum-v1"),
    }
    assert {preset.algorithm for preset in EVERY} <= set(catalogue.names())
    assert presets.find("ppo", "CartPole-v9") is None and presets.find("ppo", object()) is None


def test_only_names_have_presets():
    assert find_preset("ppo", "CartPole-v1", "auto") is presets.find("ppo", "CartPole-v1")
    assert find_preset("ppo", "CartPole-v1", "none") is None
    assert find_preset(operant.PPO(), "CartPole-v1", "auto") is None


def test_a_preset_is_used_and_said(own, capsys):
    agent = operant.train("ppo", "CartPole-v1", num_epochs=1)
    assert agent.algorithm == operant.PPO(0.001, num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((4,)))
    assert (agent.description["steps"], agent.description["num_envs"]) == (64, 2)
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert first.startswith("preset ppo CartPole-v1: steps 64, num_envs 2, learning_rate 0.001, num_steps 8, ")
    assert "2 environments, 64 steps" in second


def test_what_is_overridden_is_not_said(own):
    algorithm = make_algorithm("ppo", {"learning_rate": 0.01}, OWN)
    assert algorithm.learning_rate == 0.01 and algorithm.num_steps == 8
    told = preset_told(OWN, algorithm, Settings(128, 2))
    assert "steps 128" not in told and "learning_rate" not in told and "num_envs 2, num_steps 8" in told


def test_the_command_line_shows_uses_and_leaves_out(own, capsys, tmp_path):
    assert main(["train", "ppo", "CartPole-v1", "--help"]) == 0
    unwrapped = "".join(capsys.readouterr().out.replace("│", "").split())
    assert "PresetsforCartPole-v1" in unwrapped and "(default:0.001)" in unwrapped and "(default:64)" in unwrapped
    argv = ["train", "ppo", "CartPole-v1", "--num-epochs", "1", "--episodes", "1", "--no-gif", "--progress", "none"]
    for more, rate in (([], 0.001), (["--learning-rate", "0.01"], 0.01)):
        out = tmp_path / str(rate)
        assert main([*argv, *more, "--out", str(out)]) == 0
        fields = json.loads((out / "run.json").read_text())["fields"]
        assert fields["learning_rate"] == rate and fields["num_steps"] == 8
    assert main(["algorithms", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["algorithms"]
    assert {row["name"]: row["presets"] for row in rows}["ppo"] == ["CartPole-v1"]
