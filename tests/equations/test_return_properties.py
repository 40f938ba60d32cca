"""What returns must and must not do at the ends of episodes, and their derivatives."""

import numpy as np
import pytest

from operant.equations import discounted_returns, gae, lambda_returns, n_step_returns, vtrace
from operant.errors import OperantError

FUNCTIONS = {
    "discounted": lambda r, v, w, x, *ends: discounted_returns(r, w, *ends, 0.9),
    "lambda": lambda r, v, w, x, *ends: lambda_returns(r, w, *ends, 0.9, 0.8),
    "n-step": lambda r, v, w, x, *ends: n_step_returns(r, w, *ends, 0.9, 3),
    "gae": lambda r, v, w, x, *ends: gae(r, v, w, *ends, 0.9, 0.8),
    "vtrace-targets": lambda r, v, w, x, *ends: vtrace(x, r, v, w, *ends, 0.9, 1.1, 0.9)[0],
    "vtrace-advantages": lambda r, v, w, x, *ends: vtrace(x, r, v, w, *ends, 0.9, 1.1, 0.9)[1],
}
each = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def test_pure_monte_carlo_of_whole_episodes(window):
    d = window(6, 2, ends=0.0)
    d = d._replace(terminated=np.arange(6)[:, None].repeat(2, 1) == 5, next_values=np.zeros_like(d.values))
    expected = [[sum(0.5 ** (k - t) * d.rewards[k, j] for k in range(t, 6)) for j in range(2)] for t in range(6)]
    for actual in (discounted_returns(*d.plain, 0.5), n_step_returns(*d.plain, 0.5, 6)):
        np.testing.assert_allclose(actual, expected, rtol=1e-13)


def test_a_truncation_taken_for_a_termination_costs_the_discounted_bootstrap(window):
    d = window(6, 1, ends=0.0)
    d.truncated[3] = True
    right = gae(*d.full, 0.9, 0.8)
    wrong = gae(*d._replace(terminated=d.truncated).full, 0.9, 0.8)
    lost = 0.9 * d.next_values[3] * np.array([(0.9 * 0.8) ** (3 - t) for t in range(4)])[:, None]
    assert np.abs(lost).min() > 0.1
    np.testing.assert_allclose(right[:4] - wrong[:4], lost, rtol=1e-12)
    np.testing.assert_array_equal(right[4:], wrong[4:])


def test_a_termination_taken_for_a_truncation_gains_it(window):
    d = window(6, 1, ends=0.0)
    d.terminated[3] = True
    wrong = gae(*d._replace(terminated=d.truncated, truncated=d.terminated).full, 0.9, 0.8)
    gained = 0.9 * d.next_values[3]
    np.testing.assert_allclose((wrong - gae(*d.full, 0.9, 0.8))[3], gained, rtol=1e-12)


@each
@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_nothing_crosses_an_ending(window, function, ending):
    d = window(6, 2, ends=0.0)
    getattr(d, ending)[2] = True
    after = (np.arange(6) > 2)[:, None]
    found, changed = (
        function(r, d.values, d.next_values, 0 * r, d.continues, d.last) for r in (d.rewards, d.rewards + 10 * after)
    )
    np.testing.assert_array_equal(found[:3], changed[:3])
    assert np.abs(found[3:] - changed[3:]).min() > 1


@each
def test_derivatives_are_those_of_the_other_library(differentiable, window, function):
    # JAX through the scan, torch through the doubling, each against central differences of NumPy's values, O(h²).
    d = window(5, 2)
    xs = [d.rewards, d.values, d.next_values, np.random.default_rng(3).normal(size=(5, 2))]
    directions = np.random.default_rng(4).normal(size=(4, 5, 2))
    ends = differentiable.arrays(d.continues, d.last)
    gradients = differentiable.gradients(lambda *xs: function(*xs, *ends), *xs)
    slope = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
    ahead, behind = (
        function(*(x + h * v for x, v in zip(xs, directions, strict=True)), d.continues, d.last).sum()
        for h in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-7)


def test_n_below_one_is_refused(window):
    with pytest.raises(OperantError, match="at least 1 step"):
        n_step_returns(*window().plain, 0.9, 0)
