"""Tabular learners come to the exact solution of small problems, over seeds."""

import numpy as np
import pytest

import operant
from operant.finite import MDP, policy_evaluation, value_iteration
from operant.parts.exploration import Random
from operant.parts.tabular.rates import Visits

DISCOUNT, SEEDS = 0.8, 8


def problem():
    """Three states, two actions, rewards that depend on both and on chance, one exit."""
    rng = np.random.default_rng(4)
    transitions, rewards = rng.dirichlet(np.ones(4), (4, 2)), rng.normal(size=(4, 2, 4))
    return MDP.from_arrays(transitions, rewards, terminal=[3])


def spread(found, exact):
    """The mean over seeds is within three standard errors of the exact values, and each seed near them."""
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - exact) < 3 * error + 0.02).all()
    assert np.abs(found - exact).max() < 0.35


@pytest.mark.parametrize("name", ["q-learning", "double-q-learning"])
def test_off_policy_control_finds_the_optimal_values_from_random_actions(name):
    mdp = problem()
    exact = value_iteration(mdp, discount=DISCOUNT, tolerance=1e-9).action_values[:3]
    agents = operant.train(
        name, mdp, steps=40_000, num_seeds=SEEDS, progress="none", discount=DISCOUNT,
        exploration=Random(), learning_rate=Visits(0.7),
    )  # fmt: skip
    spread(np.array([agent.policy.action_values[:3] for agent in agents]), exact)


@pytest.mark.parametrize("name", ["td", "td-lambda"])
def test_prediction_finds_the_values_of_the_random_policy(name):
    mdp = problem()
    exact = policy_evaluation(mdp, np.full((4, 2), 0.5), discount=DISCOUNT, tolerance=1e-9).values[:3]
    rate = {"td": {"learning_rate": Visits(0.7)}, "td-lambda": {"learning_rate": 0.01}}[name]
    agents = operant.train(name, mdp, steps=40_000, num_seeds=SEEDS, progress="none", discount=DISCOUNT, **rate)
    spread(np.array([agent.policy.values[:3] for agent in agents]), exact)
