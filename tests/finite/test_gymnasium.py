"""Exact values against Gymnasium: its tables, and its own simulation of the optimal policy."""

import gymnasium
import numpy as np
import pytest

from operant import finite
from operant.finite import problems
from tests.finite.oracles import DISCOUNTED

solvers = pytest.mark.parametrize("solve", DISCOUNTED, ids=lambda solver: solver.__name__)


@solvers
def test_frozen_lake(solve):
    mdp = finite.from_gymnasium("FrozenLake-v1")
    assert solve(mdp, 1.0).values[0] == pytest.approx(14 / 17, abs=1e-9)
    assert solve(mdp, 0.99).values[0] == pytest.approx(0.54203, abs=5e-6)
    assert mdp.terminal.nonzero()[0].tolist() == [5, 7, 11, 12, 15]


def test_frozen_lake_within_its_time_limit():
    mdp = finite.from_gymnasium("FrozenLake-v1")
    solution = finite.backward_induction(mdp)
    assert solution.values.shape == (101, 16) and solution.policy.shape == (100, 16) and solution.gap < 1e-9
    assert solution.values[0, 0] == pytest.approx(0.744190, abs=5e-7)
    chain = mdp.collapsed.chosen(finite.policy_iteration(mdp, 0.99).policy)
    value = np.zeros(16)
    for _ in range(100):
        value = chain[1] + chain[0] @ value
    assert value[0] == pytest.approx(0.740165, abs=5e-7)


@solvers
def test_taxi(solve):
    dry, wet = finite.from_gymnasium("Taxi-v4"), finite.from_gymnasium("Taxi-v4", is_rainy=True)
    values = solve(dry, 1.0).values[dry.start > 0]
    assert (values.mean(), values.min(), values.max()) == pytest.approx((7.93, 3, 15), abs=1e-9)
    assert solve(wet, 1.0).values @ wet.start == pytest.approx(3.9546, abs=5e-5)


@solvers
def test_cliff_walking(solve):
    mdp = finite.from_gymnasium("CliffWalking-v1")
    assert solve(mdp, 1.0).values[36] == pytest.approx(-13, abs=1e-9)
    assert mdp.terminal.nonzero()[0].tolist() == [47]


def returns(env: gymnasium.Env, act, episodes: int, discount: float = 1.0) -> np.ndarray:
    totals = np.zeros(episodes)
    env.reset(seed=0)
    for episode in range(episodes):
        observation, _ = env.reset()
        weight, done = 1.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            totals[episode] += weight * float(reward)
            weight, done = weight * discount, terminated or truncated
    return totals


CASES = {
    "FrozenLake-v1": ({}, 1500),
    "Taxi-v4": ({"is_rainy": True}, 1000),
    "CliffWalking-v1": ({"is_slippery": True}, 300),
}


@pytest.mark.parametrize("name", CASES)
def test_simulating_the_optimal_policy_gives_its_exact_value(name):
    """Without a time limit, so that the stationary optimum is the optimum; four standard errors: 1 in 16,000 fails."""
    kwargs, episodes = CASES[name]
    mdp = finite.from_gymnasium(name, **kwargs)
    solution = finite.policy_iteration(mdp, 1.0)
    with gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **kwargs) as env:
        totals = returns(env, lambda state: int(solution.policy[state]), episodes)
    start = mdp.start if mdp.start is not None else np.eye(mdp.num_states)[36]
    error = totals.std() / np.sqrt(episodes)
    assert error > 0 and abs(totals.mean() - solution.values @ start) <= 4 * error


def test_simulating_blackjack():
    mdp = problems.blackjack()
    solution = finite.policy_iteration(mdp)
    with gymnasium.make("Blackjack-v1", natural=False, sab=False, disable_env_checker=True) as env:
        totals = returns(env, lambda hand: int(solution.policy[problems.blackjack_state(*hand)]), 20_000)
    assert abs(totals.mean() - solution.values @ mdp.start) <= 4 * totals.std() / np.sqrt(len(totals))
    assert totals.std() == pytest.approx(np.sqrt(0.9), abs=0.05)  # few hands are drawn


def test_the_books_cliff_is_gymnasiums():
    table, own = finite.from_gymnasium("CliffWalking-v1"), problems.cliff()
    ours = finite.value_iteration(own, 0.9).values
    theirs = finite.value_iteration(table, 0.9).values
    reachable = np.r_[0:37, 47]  # the book's grid never stands on the cliff
    np.testing.assert_allclose(ours[reachable], theirs[reachable], atol=1e-9)


def test_environments_without_a_table_are_refused():
    with pytest.raises(finite.MDPError, match="Blackjack-v1 publishes no table"):
        finite.from_gymnasium("Blackjack-v1")
    with gymnasium.make("FrozenLake-v1") as env:
        assert finite.from_gymnasium(env).num_states == 16
        with pytest.raises(finite.MDPError, match="already made"):
            finite.from_gymnasium(env, is_slippery=False)
