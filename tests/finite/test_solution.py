"""What a solution says: by name, in text, and of agents."""

import dataclasses

import gymnasium
import numpy as np
import pytest

from operant import finite
from operant.errors import OperantError
from operant.finite import methods, problems


class Deaf:
    """An agent that takes one action whatever it sees."""

    def __init__(self, action, states):
        self.action, self.observation_space = action, gymnasium.spaces.Discrete(states)

    def start(self, n):
        return (n,)

    def act(self, states, memory):
        assert memory == (len(states),)
        return np.full(len(states), self.action), memory


@pytest.mark.parametrize("method", sorted(methods.METHODS))
def test_every_method_has_a_name(method):
    mdp = dataclasses.replace(finite.from_gymnasium("FrozenLake-v1"), discount=0.9)
    if method == "relative-value-iteration":
        mdp = problems.gridworld_5x5()
    solution = finite.solve(mdp, method, tolerance=1e-8)
    assert solution.problem is mdp and solution.gap <= 1e-8
    text = repr(solution)
    assert "certified within" in text and len(text.splitlines()) < 30
    if solution.gain is None:
        assert f"value at the start {solution.start_value:.6g}" in text


def test_unknown_methods_and_arguments():
    with pytest.raises(OperantError, match="did you mean 'prioritised-sweeping'"):
        finite.solve(problems.gambler(), "prioritized_sweeping")
    with pytest.raises(finite.MDPError, match="relative-value-iteration takes no discount"):
        finite.solve(problems.gridworld_5x5(), "relative-value-iteration", discount=0.9)


def test_random_policy_is_the_books():
    values = finite.random_policy(problems.gridworld_4x4()).values.reshape(4, 4)
    np.testing.assert_allclose(values[:2], [[0, -14, -20, -22], [-14, -18, -20, -20]], atol=1e-9)


def test_large_problems_are_cut_short():
    text = repr(finite.gauss_seidel(problems.maze(30, 30)))
    assert "more states, values from" in text and len(text.splitlines()) < 30
    text = repr(finite.value_iteration(finite.from_gymnasium("Taxi-v4"), 0.9))
    assert "taxi 0,0 from red to green" in text and "pick up" in text


@pytest.mark.parametrize("discount", [0.95, 1.0])
def test_regret_is_the_difference_of_two_exact_values(discount):
    mdp = finite.from_gymnasium("FrozenLake-v1")
    solution = finite.policy_iteration(mdp, discount)
    assert solution.regret(solution.policy) == pytest.approx(0, abs=1e-8)
    deaf = Deaf(1, 16)
    exact = finite.policy_evaluation(mdp, np.ones(16, int), discount).values[0]
    assert solution.regret(deaf) == pytest.approx(solution.values[0] - exact, abs=1e-8)
    uniform = np.full((16, 4), 0.25)
    exact = finite.policy_evaluation(mdp, uniform, discount).values[0]
    assert solution.regret(uniform) == pytest.approx(solution.values[0] - exact, abs=1e-8)


def test_regret_looks_only_where_the_policy_goes():
    """Along the cliff and into the wall ever after, but for the one path: the rest never ends and does not matter."""
    cliff = problems.cliff()
    solution = finite.policy_iteration(cliff)
    policy = np.full(48, 0)  # up
    policy[36:37], policy[24:35], policy[35] = 0, 2, 1
    with pytest.raises(finite.MDPError, match="can reach no end"):
        finite.policy_evaluation(cliff, policy)
    assert solution.regret(policy) == pytest.approx(0, abs=1e-8)
    policy[30] = 0  # up from there, and for ever against the wall
    assert solution.regret(policy) == np.inf


def test_regret_under_a_time_limit():
    mdp = finite.from_gymnasium("FrozenLake-v1")
    solution = finite.backward_induction(mdp)
    stationary = finite.policy_iteration(mdp, 0.99).policy
    assert solution.regret(stationary) == pytest.approx(0.744190 - 0.740165, abs=1e-6)


def test_regret_is_refused_where_it_means_nothing():
    solution = finite.value_iteration(problems.gambler())
    with pytest.raises(finite.MDPError, match=r"the agent sees Discrete\(7\), not the 101 states"):
        solution.regret(Deaf(0, 7))
    with pytest.raises(finite.MDPError, match="takes action 40, which is not legal there"):
        solution.regret(Deaf(40, 101))
    with pytest.raises(finite.MDPError, match="not for average reward"):
        finite.relative_value_iteration(problems.gridworld_5x5()).regret(np.zeros(25, int))
    with pytest.raises(finite.MDPError, match="only problems whose states lie on a grid"):
        solution.picture("nothing.png")


def test_cells_are_kept_and_checked(tmp_path):
    maze = problems.dyna_maze()
    maze.stored().save(tmp_path / "maze")
    again = finite.MDP.load(tmp_path / "maze")
    np.testing.assert_array_equal(again.cells, maze.cells)
    assert again.action_labels == ("up", "down", "right", "left")
    with pytest.raises(finite.MDPError, match=r"cells of shape \(3, 2\)"):
        dataclasses.replace(again, cells=[[0, 0], [0, 1], [1, 0]])
