"""What run.json says, from whoever it comes."""

import sys

import pytest

import operant
from operant import config
from operant.core.runs.folder import RunFolder
from operant.errors import OperantError
from tests.core.runs.test_folder import DESCRIPTION


@pytest.mark.parametrize("read", [operant.resume, operant.load])
def test_a_run_never_imports_a_module(tmp_path, monkeypatch, read):
    (tmp_path / "bearer_of_ill.py").write_text("raise SystemExit('executed')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = RunFolder.create(tmp_path / "run", "ppo", "CartPole-v1", 0)
    told = {"fields": {}, "environment": "bearer_of_ill:Env-v0", "num_envs": 1, "backend": "auto", "env_kwargs": {}}
    description = DESCRIPTION | told | {"external_environment": False}
    folder.write_description(description)
    with pytest.raises(OperantError, match=r"pass it again|space"):
        read(folder.path)
    assert "bearer_of_ill" not in str(config.read(str(folder.description)))
    assert "bearer_of_ill" not in sys.modules
