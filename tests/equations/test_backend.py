import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.special

from operant.equations._backend import logsumexp, namespace, stop_gradient


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


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_logsumexp_is_scipys(backend):
    x = np.random.default_rng(0).normal(size=(4, 5)) + np.array([[0.0], [1e4], [-1e4], [3.0]])
    x[0, 1] = -np.inf
    x[3] = -np.inf
    x = x.astype(backend.dtype).astype(np.float64)
    for axis in (-1, 0):
        backend.check(logsumexp(backend.array(x), axis), scipy.special.logsumexp(x, axis=axis))


def test_logsumexp_gradient_is_softmax(differentiable):
    x = np.array([[1.0, 2.0, -np.inf], [900.0, 901.0, 899.0]])
    (gradient,) = differentiable.gradients(logsumexp, x)
    np.testing.assert_allclose(gradient, scipy.special.softmax(x, axis=-1), rtol=1e-14)


def test_two_libraries_in_one_call_are_refused():
    import torch

    with pytest.raises(TypeError):
        namespace(np.ones(2), torch.ones(2))
