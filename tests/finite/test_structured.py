"""Models that are not stored, sweeps with and without numba, mazes, average reward, horizons."""

import dataclasses

import numpy as np
import pytest

from operant import finite
from operant.finite import kernels, problems, sweeps
from tests.finite.oracles import random_mdp

SWEEPING = (
    finite.value_iteration,
    finite.modified_policy_iteration,
    finite.gauss_seidel,
    finite.krylov_policy_iteration,
)


def as_function(mdp: finite.MoveMDP) -> finite.FunctionMDP:
    return finite.FunctionMDP(mdp.num_states, mdp.num_actions, mdp.outcomes, terminal=mdp.terminal)


@pytest.mark.parametrize("solve", SWEEPING, ids=lambda solver: solver.__name__)
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_stored_and_unstored_forms_agree(solve, discount):
    maze = problems.maze(9, 11, seed=2)
    stored = finite.policy_iteration(maze.stored(), discount)
    for form in (maze, as_function(maze), maze.stored()):
        solution = solve(form, discount)
        np.testing.assert_allclose(solution.values, stored.values, rtol=0, atol=1e-9)
        assert solution.gap <= 1e-9


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.setattr(kernels, "compiled", lambda kernel: None)


@pytest.mark.parametrize(
    "solve", [finite.gauss_seidel, finite.prioritised_sweeping], ids=lambda solver: solver.__name__
)
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_everything_works_without_numba(without_numba, solve, discount):
    maze = problems.maze(7, 7, seed=1)
    exact = finite.policy_iteration(maze.stored(), discount)
    for form in (maze, maze.stored()):
        np.testing.assert_allclose(solve(form, discount).values, exact.values, rtol=0, atol=1e-9)


@pytest.fixture
def interpreted(monkeypatch):
    """The kernels as they are, in plain Python, whether numba is installed or not."""
    monkeypatch.setattr(kernels, "compiled", lambda kernel: kernel)


@pytest.mark.parametrize("kind", ["reducible", "periodic", "terminal", "flags", "illegal"])
def test_renumbered_states_have_the_values_they_had(interpreted, kind):
    mdp = random_mdp(np.random.default_rng(6), kind, 30, 3)
    solution, exact = finite.gauss_seidel(mdp, 0.95, max_iterations=50), finite.policy_iteration(mdp, 0.95)
    np.testing.assert_allclose(solution.values, exact.values, rtol=0, atol=1e-9)
    assert solution.gap <= 1e-9
    assert (solution.lower <= exact.upper).all() and (exact.lower <= solution.upper).all()


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_renumbered_mazes_have_the_values_they_had(interpreted, discount):
    maze = problems.maze(9, 11, seed=2)
    exact = finite.policy_iteration(maze.stored(), discount)
    paid = dataclasses.replace(maze, rewards=-1.0 - (maze.successors % 3))
    paid_exact = finite.policy_iteration(paid.stored(), discount)
    for form, expected in ((maze, exact), (maze.stored(), exact), (paid, paid_exact)):
        solution = finite.gauss_seidel(form, discount, max_iterations=50)
        np.testing.assert_allclose(solution.values, expected.values, rtol=0, atol=1e-9)
        assert solution.gap <= 1e-9


def test_one_sweep_solves_for_staying():
    """Alone with itself nine times in ten: v = 1 / (1 - .9 γ) after one sweep, in either form."""
    discount = 0.5
    model = finite.MDP.from_triples(2, 1, [0, 0], [0, 0], [0, 1], [0.9, 0.1], [1.0, 1.0], terminal=[1]).collapsed
    matrix = model.transitions
    order = np.array([1, 0], dtype=np.int32)
    rows = kernels.renumbered(order, matrix.indptr, matrix.indices, matrix.data, model.rewards, 1, discount)
    values = np.zeros(2)
    kernels.sweep_sparse(0, 2, *rows, 1, values)
    np.testing.assert_allclose(values, [0.0, 1.0 / (1.0 - 0.45)])
    moves = (np.array([[0, 0], [1, 0]]), np.array([[0.9, 0.1]]), np.ones((1, 1)), np.array([True, False]))
    values = np.zeros(2)
    kernels.sweep_moves(0, 2, *moves, discount, values)
    np.testing.assert_allclose(values, [0.0, 1.0 / (1.0 - 0.45)])


def test_windows_smaller_than_the_problem(interpreted, monkeypatch):
    maze = problems.maze(20, 20, seed=3)
    whole = finite.gauss_seidel(maze, tolerance=1e-8)
    monkeypatch.setattr(sweeps, "WINDOW", 64)
    pieces = finite.gauss_seidel(maze, tolerance=1e-8)
    np.testing.assert_allclose(pieces.values, whole.values, rtol=0, atol=1e-8)
    assert pieces.gap <= 1e-8


def test_goal_order_is_breadth_first():
    maze = problems.maze(15, 15, slip=0.0, seed=4)
    edges = maze.successors.reshape(-1)
    order = kernels.goal_order(np.arange(0, edges.size + 1, 4), edges, 1, maze.terminal)
    assert sorted(order.tolist()) == list(range(maze.num_states))
    steps = -finite.value_iteration(maze, 1.0).values
    assert (np.diff(steps[order]) >= -1e-6).all()  # without slips the value is the distance


def test_maze_cells_and_moves():
    maze, cells = problems.maze(12, 17, seed=5), problems.cells_of_maze(12, 17, seed=5)
    assert cells.sum() == maze.num_states and cells[6, 8]
    rows, columns = np.nonzero(cells)
    goal = int(np.flatnonzero(maze.terminal)[0])
    assert (rows[goal], columns[goal]) == (6, 8)
    step = np.abs(rows[maze.successors] - rows[:, None]) + np.abs(columns[maze.successors] - columns[:, None])
    stays = maze.successors == np.arange(maze.num_states)[:, None]
    assert ((step == 1) | stays).all() and (step[stays] == 0).all()
    up = maze.successors[:, 0][~stays[:, 0]]
    assert (rows[up] == rows[~stays[:, 0]] - 1).all()
    np.testing.assert_allclose(maze.mix.sum(axis=1), 1.0)
    assert maze.mix[0].tolist() == [0.8, 0.0, 0.1, 0.1]  # up; right and left by accident, never down
    assert (finite.value_iteration(maze, 1.0).values[~maze.terminal] < 0).all()


def test_function_models_are_checked():
    def outcomes(states, actions):
        return np.where(states == 3, 0.9, 1.0)[:, None], states[:, None], 0.0, False

    with pytest.raises(finite.MDPError, match="state 3, action 0"):
        finite.value_iteration(finite.FunctionMDP(5, 1, outcomes), 0.9)


def test_average_reward_is_the_limit_of_discounting():
    for kind in ("ergodic", "periodic"):
        mdp = random_mdp(np.random.default_rng(8), kind, 6, 3)
        solution = finite.relative_value_iteration(mdp)
        assert solution.lower[0] <= solution.gain <= solution.upper[0] and solution.gap <= 1e-9
        transitions, rewards, _ = mdp.collapsed.chosen(solution.policy)
        # The gain of the policy returned, from the stationary equations g + h = r + P h, h(0) = 0.
        system = np.eye(6) - transitions.toarray()
        system[:, 0] = 1.0
        assert np.linalg.solve(system, rewards)[0] == pytest.approx(solution.gain, abs=1e-8)
        discounted = finite.policy_iteration(mdp, 1 - 1e-7).values * 1e-7
        np.testing.assert_allclose(discounted, solution.gain, rtol=0, atol=1e-3)


def test_average_reward_is_refused_where_it_is_not_one_number():
    with pytest.raises(finite.MDPError, match="never end"):
        finite.relative_value_iteration(problems.gridworld_4x4())
    apart = finite.MDP.from_arrays(np.eye(2)[:, None], np.array([[0.0], [1.0]]))
    with pytest.raises(finite.MDPError, match="gain differs between states"):
        finite.relative_value_iteration(apart)


def test_horizons():
    mdp = problems.gridworld_5x5()
    solution = finite.backward_induction(mdp, horizon=3)
    two_left = solution.values[1]
    np.testing.assert_allclose(solution.values[0], mdp.collapsed.backup(two_left, 0.9).max(axis=1))
    assert solution.values[3].tolist() == [0.0] * 25 and solution.advantages.shape == (3, 25, 4)
    far = finite.backward_induction(mdp, horizon=400).values[0]
    np.testing.assert_allclose(far, finite.policy_iteration(mdp).values, atol=1e-9)
    with pytest.raises(finite.MDPError, match="give horizon="):
        finite.backward_induction(mdp)
