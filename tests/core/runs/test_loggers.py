"""Loggers get the rows of metrics.jsonl; Weights & Biases is imported when it is asked for, and only then."""

import json
import sys
import types
from importlib.machinery import ModuleSpec

import pytest

import operant
from operant.core.runs import loggers
from operant.errors import OperantError
from operant.parts.networks import MLP

FIELDS = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 1, "network": MLP((8,)), "progress": "none"}


class FakeWandb(types.ModuleType):
    """What Operant uses of wandb, remembering everything."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.started, self.rows, self.metrics, self.finished, self.broken = [], [], [], 0, False

    def init(self, **arguments):
        if self.broken:
            raise RuntimeError("no key\nno login")
        self.started.append(arguments)
        return self

    def define_metric(self, name, step_metric):
        self.metrics.append((name, step_metric))

    def log(self, row):
        self.rows.append(row)

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_rows_go_to_weights_and_biases_and_a_resumed_run_goes_on_there(wandb, tmp_path):
    arguments = {"steps": 64, "num_envs": 2, "num_seeds": 2, "evaluate_every": 64} | FIELDS
    operant.train("ppo", "CartPole-v1", log=("tensorboard", "wandb"), out=tmp_path / "run", **arguments)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    expected = [
        {"steps": row["steps"]}
        | {f"{name}/seed_{row['seed']}": value for name, value in row.items()
           if name not in ("steps", "seed") and value is not None}
        for row in rows
    ]  # fmt: skip
    assert wandb.rows == expected and wandb.finished == 1 and wandb.metrics == [("*", "steps")]
    first = wandb.started[0]
    assert first["project"] == "operant" and first["name"] == "run" and first["config"]["algorithm"] == "ppo"
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    operant.resume(tmp_path / "run", steps=128, progress="none")
    assert wandb.started[1]["id"] == first["id"] and wandb.started[1]["resume"] == "allow"
    assert wandb.rows[-1]["steps"] == 128 and wandb.finished == 2


def test_without_a_folder_metrics_go_there_all_the_same(wandb):
    operant.train("ppo", "CartPole-v1", steps=16, num_envs=2, log="wandb", **FIELDS)
    assert "name" not in wandb.started[0] and wandb.rows[0]["steps"] == 16


def test_what_it_says_when_it_cannot_start_is_one_line(wandb):
    wandb.broken = True
    with pytest.raises(OperantError, match=r"could not be started \(RuntimeError: no key\)"):
        operant.train("ppo", "CartPole-v1", steps=16, num_envs=2, log="wandb", **FIELDS)


def test_no_logger_is_imported_unasked(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would fail
    operant.train("ppo", "CartPole-v1", steps=16, num_envs=2, log=(), **FIELDS)
    monkeypatch.delitem(sys.modules, "wandb")
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OperantError, match=r"pip install 'operant\[wandb\]'"):
        loggers.check(("wandb",))
