import numpy as np
import pytest

from operant.equations import double_value, expected_value, huber, squared, squash, td_error, td_target, unsquash

REWARDS = np.array([1.0, -2.0, 0.5])
CONTINUES = np.array([1.0, 0.0, 1.0])
NEXT = np.array([4.0, 8.0, -2.0])
VALUES = np.array([0.25, 1.0, -1.0])


def test_target_and_error_are_the_definition(backend):
    r, c, w, v = backend.arrays(REWARDS, CONTINUES, NEXT, VALUES)
    expected = [1.0 + 0.5 * 4.0, -2.0, 0.5 - 0.5 * 2.0]
    backend.check(td_target(r, c, w, 0.5), expected)
    backend.check(td_error(v, r, c, w, 0.5), expected - VALUES)


def test_only_the_estimate_is_differentiated(differentiable):
    c = differentiable.array(CONTINUES)
    gradients = differentiable.gradients(lambda v, r, w: td_error(v, r, c, w, 0.5), VALUES, REWARDS, NEXT)
    for gradient, expected in zip(gradients, (-1.0, 0.0, 0.0), strict=True):
        np.testing.assert_array_equal(gradient, np.full(3, expected))


def test_next_values_of_expected_sarsa_and_double_q(backend):
    rng = np.random.default_rng(0)
    q, selector = rng.normal(size=(2, 4, 3, 5)).astype(backend.dtype).astype(float)
    policy = rng.dirichlet(np.ones(5), size=(4, 3)).astype(backend.dtype).astype(float)
    expected = [[sum(policy[t, j, a] * q[t, j, a] for a in range(5)) for j in range(3)] for t in range(4)]
    double = [[q[t, j, int(np.argmax(selector[t, j]))] for j in range(3)] for t in range(4)]
    assert not np.array_equal(double, q.max(-1))
    backend.check(expected_value(*backend.arrays(q, policy)), expected)
    backend.check(double_value(*backend.arrays(q, selector)), double)
    backend.check(double_value(*backend.arrays(q, q)), q.max(-1))  # one estimate for both is Q-learning


@pytest.mark.parametrize("delta", [1.0, 0.25])
def test_losses_are_the_definition(backend, delta):
    errors = np.array([-3.0, -1.0, -0.5, -0.25, 0.0, 0.125, 1.0, 7.0])
    expected = [0.5 * e * e if abs(e) <= delta else delta * (abs(e) - 0.5 * delta) for e in errors]
    backend.check(huber(backend.array(errors), delta), expected)
    backend.check(squared(backend.array(errors)), 0.5 * errors**2)


def test_loss_gradients_are_the_error_and_the_clipped_error(differentiable):
    errors = np.array([-3.0, -1.0, -0.5, 0.0, 0.3, 1.0, 7.0])
    np.testing.assert_array_equal(differentiable.gradients(squared, errors)[0], errors)
    np.testing.assert_array_equal(differentiable.gradients(huber, errors)[0], np.clip(errors, -1, 1))


def test_squashed_values_are_the_definition_and_come_back(backend):
    values = np.array([-2000.0, -3.0, -1e-3, 0.0, 0.25, 8.0, 99.0, 1e5])
    expected = np.sign(values) * (np.sqrt(np.abs(values) + 1) - 1) + 1e-3 * values
    backend.check(squash(backend.array(values)), expected)
    digits = 1e-5 if backend.dtype == "float32" else 1e-11  # relative, but where the values are near zero
    back = np.asarray(unsquash(squash(backend.array(values))))
    np.testing.assert_allclose(back, values, rtol=digits, atol=10 * digits)
    assert np.diff(expected).min() > 0  # so that the best action stays the best
