"""Discount one: sound where values are finite, refused with the reason where they are not."""

import numpy as np
import pytest

from operant import finite
from tests.finite.oracles import DISCOUNTED

solvers = pytest.mark.parametrize("solve", DISCOUNTED, ids=lambda solver: solver.__name__)


def deterministic(arrows: dict[int, list[tuple[int, float]]], terminal: list[int]) -> finite.MDP:
    size = max([*arrows, *terminal]) + 1
    width = max(len(row) for row in arrows.values())
    return finite.MDP.from_function(
        size, width, lambda s, a: [(1.0, *arrows[s][a], False)] if a < len(arrows[s]) else [], terminal=terminal
    )


def ends(mdp: finite.MDP, policy: np.ndarray) -> bool:
    """Whether `policy` reaches an end from every state: its transition matrix is nilpotent in the limit."""
    chain = mdp.collapsed.chosen(policy)[0].toarray()
    return float(np.linalg.matrix_power(chain, 4096).sum()) < 1e-6


@solvers
@pytest.mark.parametrize("size", ["4x4", "8x8"])
def test_frozen_lake_without_slipping_reaches_the_goal(solve, size):
    """Every action is tied at value one, and arguments of the maximum taken blindly walk in circles."""
    mdp = finite.from_gymnasium("FrozenLake-v1", map_name=size, is_slippery=False)
    solution = solve(mdp, 1.0)
    assert solution.values[0] == pytest.approx(1.0, abs=1e-9) and solution.gap <= 1e-9
    assert ends(mdp, solution.policy)
    np.testing.assert_allclose(finite.policy_evaluation(mdp, solution.policy, 1.0).values, solution.values, atol=1e-9)


@solvers
def test_a_free_loop_does_not_hold_values_up(solve):
    """0 and 1 circle for nothing; the exit pays 1 with chance .5, else costs 1. v = 0 by staying; v = 10 is a fixed
    point of the backup as well, which an iteration from above would return."""
    table = {
        (0, 0): [(1.0, 1, 0.0, False)], (1, 0): [(1.0, 0, 0.0, False)],
        (1, 1): [(0.5, 2, 1.0, False), (0.5, 2, -2.0, False)], (0, 1): [],
    }  # fmt: skip
    mdp = finite.MDP.from_function(3, 2, lambda s, a: table[s, a], terminal=[2])
    solution = solve(mdp, 1.0)
    np.testing.assert_allclose(solution.values, 0.0, atol=1e-9)
    assert (solution.lower <= 0).all() and (solution.upper >= 0).all() and solution.policy[1] == 0


@solvers
def test_free_loops_leave_by_their_best_exit(solve):
    mdp = deterministic({0: [(1, 0.0), (3, 1.0)], 1: [(0, 0.0), (2, 0.0)], 2: [(1, 0.0), (3, 5.0)]}, [3])
    solution = solve(mdp, 1.0)
    np.testing.assert_allclose(solution.values, [5, 5, 5, 0], atol=1e-9)
    assert solution.policy.tolist()[:3] == [0, 1, 1]


@solvers
def test_long_odds_are_not_cut_short(solve):
    """A chain that goes back to its beginning with chance .9: changes are tiny long before values are right."""
    size = 3

    def outcomes(state, action):
        return [(0.1, state + 1, float(state + 1 == size), False), (0.9, 0, 0.0, False)]

    bad_end = finite.MDP.from_function(
        size + 2, 2,
        lambda s, a: outcomes(s, a) if a == 0 else [(0.5, s, 0.0, False), (0.5, size + 1, 0.4, False)],
        terminal=[size, size + 1],
    )  # fmt: skip
    solution = solve(bad_end, 1.0)
    lower, upper = solution.lower[:-2], solution.upper[:-2]
    assert ((lower <= solution.values[:-2]) & (solution.values[:-2] <= upper)).all() and solution.gap <= 1e-6
    np.testing.assert_allclose(solution.values[:size], 1.0, atol=1e-6)


@solvers
def test_random_stochastic_shortest_paths_agree(solve):
    rng, size = np.random.default_rng(5), 15
    for _ in range(5):
        targets, chances = rng.integers(0, size, (size, 3, 3)), rng.dirichlet(np.ones(3), (size, 3))
        states, actions, _ = np.indices((size, 3, 3)).reshape(3, -1)
        costs = np.repeat(-rng.random(size * 3), 3)
        mdp = finite.MDP.from_triples(size, 3, states, actions, targets.ravel(), chances.ravel(), costs, terminal=[0])
        solution, reference = solve(mdp, 1.0), finite.linear_programming(mdp, 1.0)
        np.testing.assert_allclose(solution.values, reference.values, atol=1e-9)
        assert ends(mdp, solution.policy)


REFUSED = {
    "no end": ({0: [(1, -1.0)], 1: [(0, -1.0)], 2: [(3, 0.0)]}, [3], "state 0 can reach no end"),
    "cut off": ({0: [(1, -1.0)], 1: [(1, -1.0)], 2: [(3, 0.0)]}, [3], "state 0 can reach no end"),
    "paying loop": ({0: [(1, 1.0), (2, 0.0)], 1: [(0, 0.0)]}, [2], "state 0: a loop that need never end"),
    "swings": ({0: [(1, 1.0), (2, 0.0)], 1: [(0, -1.0)]}, [2], "state 0: a loop that need never end"),
}


@pytest.mark.parametrize("case", REFUSED)
@solvers
def test_what_has_no_finite_value_is_refused(solve, case):
    arrows, terminal, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        solve(deterministic(arrows, terminal), 1.0)


@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_policies_that_never_end(method):
    mdp = deterministic({0: [(0, -1.0), (2, -3.0)], 1: [(1, 0.0), (2, -3.0)]}, [2])
    with pytest.raises(finite.MDPError, match="state 0 can reach no end"):
        finite.policy_evaluation(mdp, np.array([0, 0, 0]), 1.0, method=method)
    values = finite.policy_evaluation(mdp, np.array([1, 0, 0]), 1.0, method=method).values
    np.testing.assert_allclose(values, [-3, 0, 0], atol=1e-9)
