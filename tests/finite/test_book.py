"""Published and exactly computed values, each by every solver that applies."""

import numpy as np
import pytest

from operant import finite
from operant.finite import problems
from tests.finite.oracles import DISCOUNTED, soft

QUICK = [solver for solver in DISCOUNTED if solver is not finite.prioritised_sweeping]
solvers = pytest.mark.parametrize("solve", DISCOUNTED, ids=lambda solver: solver.__name__)


def close(found, exact, digits=9):
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.5001 * 10.0**-digits if digits < 9 else 1e-9)


@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_4x4_random_policy(method):
    solution = finite.policy_evaluation(problems.gridworld_4x4(), np.full((16, 4), 0.25), method=method)
    upper = [0, -14, -20, -22, -14, -18, -20, -20]
    close(solution.values, upper + upper[::-1])
    assert (solution.lower <= solution.values).all() and (solution.values <= solution.upper).all()


@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_5x5_random_policy(method):
    solution = finite.policy_evaluation(problems.gridworld_5x5(), np.full((25, 4), 0.25), method=method)
    close(solution.values[:5], [3.309, 8.789, 4.428, 5.322, 1.492], 3)


@solvers
def test_5x5_optimal(solve):
    values = solve(problems.gridworld_5x5()).values
    close(values[:5], [21.977, 24.419, 21.977, 19.419, 17.477], 3)
    close(values[1], 10 / (1 - 0.9**5))  # A, down to A', and four steps back up


@pytest.fixture(scope="module")
def rental():
    return problems.car_rental()


@pytest.mark.parametrize("solve", [finite.policy_iteration, finite.value_iteration, finite.gauss_seidel])
def test_car_rental(rental, solve):
    solution = solve(rental)
    close(solution.values[0], 421.4141, 4)
    assert solution.policy.min() - 5 == -4 and solution.policy.max() - 5 == 5


def test_car_rental_takes_four_changes_from_moving_nothing(rental):
    policy, changes = np.full(441, 5), 0
    while True:
        solution = finite.policy_evaluation(rental, policy)
        better = np.where(solution.advantages.max(axis=1) > 1e-9, solution.action_values.argmax(axis=1), policy)
        if np.array_equal(better, policy):
            break
        policy, changes = better, changes + 1
    assert changes == 4
    close(solution.values, finite.value_iteration(rental).values, 8)


@solvers
def test_gambler(solve):
    values = solve(problems.gambler()).values
    close(values[[25, 50, 75]], [0.16, 0.4, 0.64])
    close(values[51], 0.403098, 6)
    assert values[0] == values[100] == 0.0


@solvers
def test_blackjack(solve):
    mdp = problems.blackjack()
    solution = solve(mdp)
    close(solution.values @ mdp.start, -0.046556, 6)
    # Thorp's basic strategy: stick on 13 against a dealer's 2, hit on 12; hit soft 17, stick on soft 19.
    chosen = [
        problems.blackjack_state(*hand) for hand in ((13, 2, False), (12, 2, False), (17, 6, True), (19, 10, True))
    ]
    assert solution.policy[chosen].tolist() == [0, 1, 1, 0]


@solvers
def test_windy_grid_and_cliff(solve):
    close(solve(problems.windy_grid()).values[30], -15)
    close(solve(problems.cliff()).values[36], -13)
    close(solve(problems.cliff(), 0.99).values[36], -(1 - 0.99**13) / 0.01)
    close(solve(problems.cliff(), 0.99).values[36], -12.2479, 4)


@pytest.mark.parametrize("solve", [finite.policy_iteration, finite.value_iteration, finite.linear_programming])
def test_windy_grid_best_soft_policy(solve):
    close(solve(soft(problems.windy_grid(), 0.1)).values[30], -17.048, 3)


@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_cliff_optimal_actions_with_exploration(method):
    mdp = problems.cliff()
    best = np.abs(finite.value_iteration(mdp).advantages) < 1e-6
    greedy = best / best.sum(axis=1, keepdims=True)  # ties are split evenly; other ways give -45.8 to -51.8
    solution = finite.policy_evaluation(mdp, 0.9 * greedy + 0.025, method=method)
    close(solution.values[36], -50.800, 3)


@solvers
def test_random_walks(solve):
    close(solve(problems.random_walk(5, left=0.0)).values[1:-1], np.arange(1, 6) / 6)
    close(solve(problems.random_walk()).values[1:-1], np.arange(-18, 19, 2) / 20)


@solvers
def test_dyna_mazes(solve):
    for layout, steps in {"dyna": 14, "blocking": 10, "blocked": 16, "shortcut": 16, "shortcut-open": 10}.items():
        maze = problems.dyna_maze(layout)
        close(solve(maze).values @ maze.start, 0.95 ** (steps - 1))


@solvers
def test_maximisation_bias_and_testbed(solve):
    solution = solve(problems.maximisation_bias())
    close(solution.values, [0.0, -0.1, 0.0])
    assert solution.policy[0] == 1
    means = np.random.default_rng(3).standard_normal(10)
    close(solve(problems.bandit_testbed(seed=3)).action_values[0], means)


def test_quadrature_has_the_moments_of_the_normal_distribution():
    chances, rewards = np.array(problems.maximisation_bias().outcomes(1, 0))[:, [0, 2]].T
    centred = rewards + 0.1
    np.testing.assert_allclose([chances @ centred**k for k in range(1, 7)], [0, 1, 0, 3, 0, 15], atol=1e-12)


@solvers
def test_forest(solve):
    """pymdptoolbox's `example.forest()`: wait or cut three ages of trees, fire with chance .1."""
    transitions = np.zeros((3, 2, 3))
    transitions[:, 1, 0] = 1.0
    transitions[:, 0, 0] = 0.1
    transitions[[0, 1, 2], 0, [1, 2, 2]] = 0.9
    mdp = finite.MDP.from_arrays(transitions, np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 2.0]]))
    close(solve(mdp, 0.9).values, [26.244, 29.484, 33.484])


@pytest.mark.parametrize("solve", QUICK, ids=lambda solver: solver.__name__)
def test_sequence_alignment_is_needleman_wunsch(solve):
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = ("".join(rng.choice(list("ACGT"), size=size)) for size in rng.integers(3, 15, size=2))
        table = np.zeros((len(first) + 1, len(second) + 1))
        table[:, 0], table[0] = -2.0 * np.arange(len(first) + 1), -2.0 * np.arange(len(second) + 1)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                diagonal = table[i, j] + (1.0 if a == b else -1.0)
                table[i + 1, j + 1] = max(diagonal, table[i, j + 1] - 2.0, table[i + 1, j] - 2.0)
        solution = solve(problems.sequence_alignment(first, second, gap=-2.0))
        close(solution.values[0], table[-1, -1])
        top, bottom = problems.aligned(solution.policy, first, second)
        pairs = zip(top, bottom, strict=True)
        assert sum(-2 if "-" in pair else (1 if pair[0] == pair[1] else -1) for pair in pairs) == table[-1, -1]
