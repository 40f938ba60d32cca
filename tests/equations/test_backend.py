import os
import subprocess
import sys

import numpy as np
import pytest

from operant.equations._backend import namespace, stop_gradient


def run(code: str) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_and_numpy_use_import_neither_jax_nor_torch():
    run(
        "import sys, operant.equations as eq\n"
        "assert not {'jax', 'torch', 'numpy'} & set(sys.modules), 'imported an array library'\n"
        "import numpy as np\n"
        "x = np.ones((3, 2)); eq.gae(x, x, x, x, x > 2, 0.9, 0.9); eq.policy_gradient(x, x)\n"
        "assert not {'jax', 'torch'} & set(sys.modules), 'used one'"
    )


def test_torch_use_does_not_import_jax():
    run(
        "import sys, torch, operant.equations as eq\n"
        "x = torch.ones(3, 2); eq.vtrace(x, x, x, x, x, x > 2, 0.9); eq.policy_gradient(x, x)\n"
        "assert 'jax' not in sys.modules"
    )


def test_stop_gradient_keeps_the_value_and_stops_the_gradient(differentiable):
    x = np.array([1.0, -2.0])
    differentiable.check(stop_gradient(differentiable.array(x)), x)
    (gradient,) = differentiable.gradients(lambda x: x * stop_gradient(x), x)
    np.testing.assert_array_equal(gradient, x)
    assert stop_gradient(0.5) == 0.5


def test_two_libraries_in_one_call_are_refused():
    import torch

    with pytest.raises(TypeError):
        namespace(np.ones(2), torch.ones(2))
