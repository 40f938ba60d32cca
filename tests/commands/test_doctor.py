"""`operant doctor`: what it says is so, and each thing that it can find wrong is found, with a remedy."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import jax
import pytest

import operant
from operant.cli import main
from operant.commands import examination
from operant.commands.examination import EXTRAS, examine

ROOT = Path(operant.__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems() -> dict[str, str]:
    return {problem["what"]: problem["fix"] for problem in examine()["problems"]}


def test_it_tells_what_is_so(capsys):
    assert main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    told = json.loads(out)
    assert told["operant"] == operant.__version__ and told["python"]["executable"] == sys.executable
    assert told["packages"]["jax"] == jax.__version__
    assert told["devices"] == [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
    assert told["extras"]["test"] is True  # these tests run
    assert told["cache"]["folder"] == jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    assert told["runs"]["folder"] == str(Path("runs").absolute()) and told["runs"]["free_bytes"] > 0
    assert not Path("runs").exists()  # it only looks
    assert f"Python {told['python']['version']}" in err
    assert all(f"extra {name}" in err for name in EXTRAS)


def test_the_extras_are_those_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(extras)
    for name, (shown, adds) in EXTRAS.items():
        assert adds and any(need.startswith(shown.partition("-cuda12")[0]) for need in extras[name]), name


def test_a_missing_and_an_old_package(monkeypatch):
    real = metadata.version
    seen = {"optax": "0.1.0", "six": None, "jaxlib": "0.1.2"}

    def version(name):
        if name in seen:
            if seen[name] is None:
                raise metadata.PackageNotFoundError(name)
            return seen[name]
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = problems()
    assert found["optax 0.1.0 is too old"].startswith("pip install 'optax>=")
    assert found["six is missing"].startswith("pip install 'six>=")
    assert found[f"jax {jax.__version__} and jaxlib 0.1.2 do not match"] == "pip install -U jax jaxlib"


def test_without_pygame_there_is_no_picture(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert any("episode.gif" in what for what in problems())


def test_a_package_that_is_not_installed(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert any("not installed" in what and "pip install -e ." in fix for what, fix in problems().items())


def test_jax_that_does_not_start(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda'\nand more")

    monkeypatch.setattr(jax, "devices", devices)
    told = examine()
    assert told["devices"] == []
    (problem,) = [problem for problem in told["problems"] if "JAX does not start" in problem["what"]]
    assert "\n" not in problem["what"] and "JAX_PLATFORMS=cpu" in problem["fix"]


@pytest.mark.parametrize(
    ("system", "platforms", "fix"),
    [("linux", "", ".[cuda]"), ("linux", "cpu", "unset JAX_PLATFORMS"), ("win32", "", "WSL2")],
)
def test_a_gpu_that_is_not_used(system, platforms, fix, monkeypatch):
    if jax.default_backend() != "cpu":
        assert not any("GPU" in what for what in problems())
        return
    monkeypatch.setattr(shutil, "which", lambda name: "nvidia-smi" if name == "nvidia-smi" else None)
    monkeypatch.setattr(examination.sys, "platform", system)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    (told,) = [fix for what, fix in problems().items() if "NVIDIA GPU" in what]
    assert fix in told


def test_an_intel_mac_and_settings_that_change_everything(monkeypatch):
    monkeypatch.setattr(examination.sys, "platform", "darwin")
    monkeypatch.setattr(examination.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("JAX_ENABLE_X64", "True")
    found = problems()
    assert any("Intel Macs" in what for what in found)
    assert any(what.startswith("JAX_ENABLE_X64 changes") for what in found)
    assert examine()["settings"]["JAX_ENABLE_X64"] == "True"


def test_folders_that_cannot_be_written_and_a_full_disk(monkeypatch):
    monkeypatch.setattr(examination, "_writable", lambda folder: False)
    found = problems()
    assert any("compiles anew" in what and "JAX_COMPILATION_CACHE_DIR" in fix for what, fix in found.items())
    assert any("runs cannot be written" in what and "--out" in fix for what, fix in found.items())
    monkeypatch.undo()
    monkeypatch.setattr(examination, "LEAST_FREE", 10**30)
    assert any("left" in what for what in problems())


def test_the_programs_folder_is_the_one_that_training_uses():
    program = "from operant.core.runtime import programs_folder as f, keep_programs as k; import jax; a = f(); k(); "
    program += "print(a == f(), str(a) == str(jax.config.jax_compilation_cache_dir))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"PYTHONPATH": str(ROOT)}
    for more in ({}, {"JAX_COMPILATION_CACHE_DIR": os.path.join(os.getcwd(), "mine")}):
        run = subprocess.run([sys.executable, "-c", program], env=environment | more, capture_output=True, text=True)
        assert run.stdout.split() == ["True", "True"], run.stderr
