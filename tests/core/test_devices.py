"""Where computation runs: on the device that was asked for, from before JAX starts."""

import os
import subprocess
import sys

import jax
import pytest

import operant
from operant.core import runtime
from operant.errors import OperantError
from operant.parts.networks import MLP

FIELDS = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 1, "network": MLP((8,)), "progress": "none"}


def test_the_cpu_is_always_there():
    agent = operant.train("ppo", "CartPole-v1", steps=16, num_envs=2, device="cpu", **FIELDS)
    assert {device.platform for leaf in jax.tree.leaves(agent.policy) for device in leaf.devices()} == {"cpu"}


def test_a_gpu_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    found = jax.devices

    def without(platform=None):
        if platform == "gpu":
            raise RuntimeError("Unknown backend gpu")
        return found(platform)

    monkeypatch.setattr(jax, "devices", without)  # whether this machine has one or not
    with pytest.raises(OperantError, match="JAX finds no gpu") as error:
        operant.train("ppo", "CartPole-v1", steps=16, device="gpu", out=tmp_path / "run", **FIELDS)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_auto_leaves_the_choice_to_jax():
    with runtime.on("auto") as devices:
        assert devices is None


def test_cpu_keeps_jax_off_the_others_before_it_starts():
    program = (
        "import jax; from operant.core import runtime\n"
        "with runtime.on('cpu') as devices:\n"
        "    assert jax.config.jax_platforms == 'cpu' and jax.numpy.ones(3).devices() == {devices[0]}"
    )
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("chosen", "expected"), [(None, "float32"), ("tensorfloat32", "tensorfloat32")])
def test_products_are_exact_unless_the_user_chose(chosen, expected):
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", chosen)
        runtime.multiply_exactly()
        assert jax.config.jax_default_matmul_precision == expected
    finally:
        jax.config.update("jax_default_matmul_precision", before)
