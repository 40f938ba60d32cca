"""The example of an environment of one's own, from the first command to the agent elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import operant

ROOT = Path(operant.__file__).parents[1]


@pytest.mark.slow  # `make walkthrough` runs it too
def test_the_walk_goes_through(tmp_path):
    script = ROOT / "examples" / "custom_environment" / "walk.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr and "Traceback" not in done.stderr
    assert "elsewhere, in a cold room" in done.stdout and "at the best constant" in done.stdout
    assert "learned in one's own loop: Agent(ppo on Thermostat-v0)" in done.stdout
    assert not list(tmp_path.iterdir())
