"""Settings from a file say what the same flags would say, and mistakes in them are one line."""

import json

import pytest

from operant import config
from operant.cli import main
from operant.errors import OperantError

YAML = """
algorithm: ppo
environment: CartPole-v1
steps: 64
num-envs: 2
num_steps: 8
num_minibatches: 2
learning_rate: 1e-3
entropy_coefficient: {type: Linear, start: 0.1, end: 0, over: 0.5}
max_gradient_norm: 0.25
target_kl: null
network:
  type: MLP
  hidden: [4, 5]
  activation: relu
env_kwargs: {max_steps_in_episode: 50}
preset: none
"""
SHORT = ("--episodes", "1", "--no-gif", "--progress", "none")


def written(tmp_path, text, name="settings.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def trained(tmp_path, *argv):
    """The description of what `operant train` made."""
    out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
    assert main(["train", *argv, *SHORT, "--out", str(out)]) == 0
    return json.loads((out / "run.json").read_text())


def test_a_file_is_read_as_flags(tmp_path):
    positionals, flags = config.read(written(tmp_path, YAML))
    assert positionals == {"algorithm": "ppo", "environment": "CartPole-v1"}
    assert dict(flags) == {
        "steps": ["64"], "num_envs": ["2"], "num_steps": ["8"], "num_minibatches": ["2"], "learning_rate": ["1e-3"],
        "entropy_coefficient": ["linear(0.1,0.0,over=0.5)"], "max_gradient_norm": ["0.25"], "target_kl": ["none"],
        "network": ["mlp"], "network.hidden": ["4,5"], "network.activation": ["relu"],
        "env_kwargs": ["max_steps_in_episode=50"], "preset": ["none"],
    }  # fmt: skip


def test_yaml_a_run_and_flags_over_them(tmp_path):
    path = written(tmp_path, YAML)
    first = trained(tmp_path, "--config", path, "--seed", "3", "--num-seeds", "2")
    assert (first["steps"], first["num_envs"], first["seeds"]) == (64, 2, [3, 4])
    assert first["fields"]["learning_rate"] == 1e-3 and first["fields"]["network"]["hidden"] == [4, 5]
    assert first["fields"]["target_kl"] is None and first["env_kwargs"] == {"max_steps_in_episode": 50}
    again = trained(tmp_path, "--config", written(tmp_path, json.dumps(first), "run.json"))
    different = {key for key in first if first[key] != again[key]}
    assert different == {"log_id"}
    other = trained(tmp_path, "ppo", "--config", path, "--network", "gru", "--network.size", "3", "--steps", "32")
    assert other["fields"]["network"]["type"] == "GRU" and other["steps"] == 32


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lerning_rate: 1", "did you mean 'learning_rate'"),
        ("gamma: 1", "Operant calls it 'discount'"),
        ("learning_rate: fast", "--learning-rate must be"),
        ("network: {type: Transformer}", "unknown part 'Transformer'"),
        ("network: {hiden: 3}", "did you mean 'network.hidden'"),
        ("learning_rate: {type: Linear, slope: 1}", "learning_rate: unknown argument of Linear 'slope'"),
        ("learning_rate: {type: Linear, start: [1]}", "no schedule Linear"),
        ("steps: [[1]]", "steps cannot be"),
        ("json: true", "unknown key"),
        ("config: other.yaml", "unknown key"),
        ("steps: 2024-01-01", "steps cannot be"),
        ("- 1", "holds no settings"),
        ("a: [", "line 1: is neither YAML nor JSON"),
        ("steps: !!python/object/apply:os.abort []", "is neither YAML nor JSON"),
        ("algorithm: [1, [2]]", "algorithm cannot be"),
        ("algorithm: pppo", "did you mean 'ppo'"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(text, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, text)
    argv = ["train", "--config", path] if text.startswith("algorithm") else ["train", "ppo", "X-v0", "--config", path]
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and told in err
    assert [file.name for file in tmp_path.iterdir()] == ["settings.yaml"]


def test_a_file_that_is_no_text_or_too_large(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OperantError, match="neither YAML nor JSON"):
        config.read(str(tmp_path / "bytes"))
    with pytest.raises(OperantError, match="is larger than"):
        config.read(written(tmp_path, "#" * 2**20 + "\n"))


def test_a_run_on_ones_own_environment_leaves_the_environment_to_be_given(tmp_path):
    told = {"format": 1, "algorithm": "ppo", "fields": {}, "environment": "Mine", "external_environment": True}
    assert config.read(written(tmp_path, json.dumps(told)))[0] == {"algorithm": "ppo"}
