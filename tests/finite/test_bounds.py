"""The certificate: bounds hold the exact rational optimum, on a thousand random problems and for every solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant import finite
from operant.finite import bounds
from tests.finite.oracles import DISCOUNTED, EXACT, random_mdp, rational_values

KINDS = ("ergodic", "reducible", "periodic", "terminal", "flags", "illegal")


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    sizes=st.tuples(st.integers(2, 5), st.integers(1, 3)),
    discount=st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.999, 1 - 1e-6, 1 - 1e-9]),
    which=st.integers(0, len(DISCOUNTED) - 1),
)
def test_bounds_hold_the_exact_optimum(seed, kind, sizes, discount, which):
    mdp = random_mdp(np.random.default_rng(seed), kind, *sizes)
    solve = DISCOUNTED[which] if discount <= 0.95 else EXACT[which % len(EXACT)]
    if discount > 1 - 1e-6 and solve is finite.linear_programming:
        solve = finite.policy_iteration  # HiGHS drops coefficients as small as 1 - γ
    solution = solve(mdp, discount)
    exact = rational_values(mdp, discount, solution.policy)
    for low, value, high, returned in zip(solution.lower, exact, solution.upper, solution.values, strict=True):
        assert low <= value <= high  # a float compares with a fraction exactly
        assert low <= returned <= high
    # Rounding alone may widen the interval beyond what was asked: at most 2.5 times what one backup's operations
    # (three outcomes and four more) can err by, above and below, summed over the discounted future.
    pairs = zip(*np.nonzero(mdp.legal & ~mdp.terminal[:, None]), strict=True)
    largest = max(abs(reward) for state, action in pairs for _, _, reward, _ in mdp.outcomes(state, action))
    error = 7 * 2.0**-53 * (largest + np.abs(solution.values).max())
    assert solution.gap <= max(1e-9, 2.5 * 2.0 * error / (1 - discount)) * (1 + 1e-6)


@settings(max_examples=24, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), discount=st.sampled_from([0.3, 0.9, 0.97]))
def test_all_solvers_agree(seed, kind, discount):
    mdp = random_mdp(np.random.default_rng(seed), kind, 12, 3)
    reference = finite.linear_programming(mdp, discount)
    for solve in DISCOUNTED:
        solution = solve(mdp, discount)
        np.testing.assert_allclose(solution.values, reference.values, rtol=0, atol=1e-9)
        assert np.array_equal(np.isfinite(solution.advantages), mdp.legal | mdp.terminal[:, None])
        assert solution.advantages.max() <= 1e-8
        achieved = finite.policy_evaluation(mdp, solution.policy, discount)
        np.testing.assert_allclose(achieved.values, solution.values, rtol=0, atol=1e-7)


def test_a_wider_tolerance_is_met_and_not_exceeded_for_nothing():
    mdp = random_mdp(np.random.default_rng(1), "ergodic", 30, 3)
    loose, tight = (finite.value_iteration(mdp, 0.99, tolerance) for tolerance in (1e-1, 1e-8))
    assert loose.gap <= 1e-1 and tight.gap <= 1e-8 and loose.iterations < tight.iterations
    assert (loose.lower <= tight.lower + 1e-12).all() and (tight.upper <= loose.upper + 1e-12).all()


def test_span_bounds_stop_long_before_the_norm_does():
    """Where every policy earns alike in the long run, MacQueen's interval closes at the rate of mixing, not of γ."""
    mdp = random_mdp(np.random.default_rng(2), "ergodic", 6, 2)
    assert finite.value_iteration(mdp, 1 - 1e-6, 1e-3).iterations < 1000


def test_narrower_bounds_would_fail(monkeypatch):
    """The test above can fail: shifts a tenth as wide exclude the optimum."""
    genuine = bounds.shifts

    def narrow(*arguments):
        shift = genuine(*arguments)
        return shift._replace(low=0.1 * shift.low, high=0.1 * shift.high)

    monkeypatch.setattr("operant.finite.task.shifts", narrow)
    mdp = random_mdp(np.random.default_rng(0), "terminal", 5, 2)
    solution = finite.value_iteration(mdp, 0.9, 1e-2)
    exact = rational_values(mdp, 0.9, solution.policy)
    assert not all(low <= value <= high for low, value, high in zip(solution.lower, exact, solution.upper, strict=True))


def test_iterations_allowed_are_not_exceeded():
    mdp = random_mdp(np.random.default_rng(0), "terminal", 5, 2)
    with pytest.raises(finite.MDPError, match="not certified to 1e-09 within 5 iterations"):
        finite.value_iteration(mdp, 0.999, max_iterations=5)
