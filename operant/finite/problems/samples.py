"""Small problems on which learning methods are compared: random walks, maximisation bias, bandits."""

import numpy as np

from operant.finite.mdp import MDP

Outcome = tuple[float, int, float, bool]


def random_walk(length: int = 19, left: float = -1.0, right: float = 1.0) -> MDP:
    """States 1..length between ends 0 and length + 1, one action, even chances; `left`, `right` are paid at the ends.

    The defaults are Sutton & Barto, 2nd ed., example 7.1; `random_walk(5, left=0)` is example 6.2. Undiscounted.
    """

    def outcomes(state: int, action: int) -> list[Outcome]:
        pay = {0: left, length + 1: right}
        return [(0.5, target, pay.get(target, 0.0), False) for target in (state - 1, state + 1)]

    start = np.eye(length + 2)[(length + 1) // 2]
    return MDP.from_function(length + 2, 1, outcomes, terminal=[0, length + 1], start=start, discount=1.0)


def normal_rewards(mean: float, points: int) -> list[tuple[float, float]]:
    """`points` pairs (probability, reward) with the moments of N(mean, 1) up to order 2 points - 1 (Gauss-Hermite)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return [(float(weight), float(mean + node)) for node, weight in zip(nodes, weights / weights.sum(), strict=True)]


def maximisation_bias(num_actions: int = 10, mean: float = -0.1, points: int = 9) -> MDP:
    """Example 6.7: from A (0), left (0) leads to B (1), right (1) ends; every action of B ends with reward N(mean, 1).

    The normal reward is given by its quadrature of `points` values, exact in its first 2 points - 1 moments.
    """

    def outcomes(state: int, action: int) -> list[Outcome]:
        if state == 0:
            return [(1.0, 1 if action == 0 else 2, 0.0, False)] if action < 2 else []
        return [(chance, 2, reward, False) for chance, reward in normal_rewards(mean, points)]

    return MDP.from_function(
        3, num_actions, outcomes, terminal=[2], start=np.eye(3)[0], discount=1.0, state_labels=("A", "B", "end")
    )


def bandit_testbed(num_arms: int = 10, seed: int = 0, points: int = 9) -> MDP:
    """One problem of the k-armed testbed (section 2.3): arm values are N(0, 1), rewards N(value, 1) by quadrature.

    One state and an end: each pull is an episode. Every `seed` is another problem.
    """
    means = np.random.default_rng(seed).standard_normal(num_arms)

    def outcomes(state: int, action: int) -> list[Outcome]:
        return [(chance, 1, reward, False) for chance, reward in normal_rewards(means[action], points)]

    return MDP.from_function(2, num_arms, outcomes, terminal=[1], start=np.eye(2)[0], discount=1.0)
