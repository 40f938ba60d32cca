"""Estimators of the policy gradient beside one another: what each cure is worth, and two kinds of actor.

    python benchmarks/gradients.py [--episodes 200000]

1. A small MDP of which the gradient is known exactly: each estimator's mean over episodes beside it, and its variance.
2. A world of one step with actions of several dimensions: how far from the gradient an estimate of 1,000 samples lies,
   by the score function (a stochastic actor's) and by the slope of a fitted critic (a deterministic one's).
"""

import argparse
import itertools

import numpy as np

from operant.equations import gae

# 1. A chain of three states: in each, action 1 leads onward with probability 0.8, action 0 with 0.4, else to the start.
STATES, ONWARD, LONGEST = 3, np.array([0.4, 0.8]), 400
REWARDS = np.array([[0.0, -0.5], [-1.0, 0.0], [2.0, 1.0]])  # of state and action
PREFERENCES = np.array([[0.3, -0.3], [0.0, 0.5], [-0.5, 0.2]])


def probabilities() -> np.ndarray:
    exponential = np.exp(PREFERENCES)
    return exponential / exponential.sum(axis=1, keepdims=True)


def solved(chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V `[S]` and Q `[S, A]`, undiscounted, of the policy with `chance` `[S, A]`."""
    onward = chance @ ONWARD
    moves = np.diag(onward[:-1], 1)
    moves[:, 0] += 1 - onward
    values = np.linalg.solve(np.eye(STATES) - moves, (chance * REWARDS).sum(axis=1))
    following = np.append(values[1:], 0.0)
    return values, REWARDS + ONWARD * following[:, None] + (1 - ONWARD) * values[0]


def exact() -> np.ndarray:
    """The gradient of V of the first state in the preferences, `[S, A]`, by central differences of the solution."""
    gradient = np.zeros_like(PREFERENCES)
    for place in np.ndindex(*PREFERENCES.shape):
        sides = []
        for step in (1e-5, -1e-5):
            moved = PREFERENCES.copy()
            moved[place] += step
            exponential = np.exp(moved)
            sides.append(solved(exponential / exponential.sum(axis=1, keepdims=True))[0][0])
        gradient[place] = (sides[0] - sides[1]) / 2e-5
    return gradient


def episodes(count: int) -> tuple[np.ndarray, ...]:
    """States, actions, rewards, where each step leads, whether it ends, and whether it was, all `[T, count]`."""
    rng, chance = np.random.default_rng(0), probabilities()
    state, alive = np.zeros(count, int), np.ones(count, bool)
    rows = []
    while alive.any() and len(rows) < LONGEST:
        action = (rng.random(count) < chance[state, 1]).astype(int)
        onward = rng.random(count) < ONWARD[action]
        after = np.where(onward, state + 1, 0)
        ended = after == STATES
        rows.append((state, action, REWARDS[state, action] * alive, np.where(ended, 0, after), ended | ~alive, alive))
        state, alive = np.where(ended, 0, after), alive & ~ended
    assert not alive.any(), "an episode was cut"
    return tuple(np.stack(leaf) for leaf in zip(*rows, strict=True))


def estimates(count: int) -> dict[str, np.ndarray]:
    """Each estimator's gradient of every episode, `[count, S, A]`."""
    state, action, reward, after, ended, was = episodes(count)
    chance, (values, _) = probabilities(), solved(probabilities())
    score = np.eye(2)[action] - chance[state]  # of the action's preference, in the row of its state
    to_go = np.cumsum(reward[::-1], axis=0)[::-1]
    traces = {
        f"critic, lambda {trace:g}": gae(reward, values[state], values[after], 1.0 - ended, ended, 1.0, trace)
        for trace in (0.9, 0.0)
    }
    weights = {
        "whole return (REINFORCE without cures)": np.broadcast_to(to_go[0], to_go.shape),
        "reward to go": to_go,
        "reward to go less a baseline": to_go - values[state],
        **traces,
    }
    place = np.eye(STATES)[state]
    return {
        name: np.einsum("tns,tna->nsa", place, score * (was * weight)[..., None]) for name, weight in weights.items()
    }


# 2. One step, paid minus the squared distance of the action from an unknown one; actions are normal around the origin.
DIMENSIONS, SPREADS, SAMPLES, REPEATS = (1, 10, 100), (0.3, 0.03), 1000, 200


def slopes(dimensions: int, spread: float) -> tuple[float, float]:
    """The mean distance from the gradient of the expected reward in the mean action, as a share of its length.

    First of the score function's estimate, then of the slope of a linear critic fitted to the same samples, which is
    the critic that is compatible with the actor (Silver et al. 2014, theorem 3).
    """
    rng, errors = np.random.default_rng(dimensions), []
    best = rng.normal(size=dimensions) / np.sqrt(dimensions)
    gradient = 2 * best  # at the origin, of -|a - best|^2
    for _ in range(REPEATS):
        action = spread * rng.normal(size=(SAMPLES, dimensions))
        reward = -np.square(action - best).sum(axis=1)
        score = action.T @ (reward - reward.mean()) / spread**2 / SAMPLES
        slope, *_ = np.linalg.lstsq(np.column_stack([action, np.ones(SAMPLES)]), reward, rcond=None)
        errors.append([np.linalg.norm(score - gradient), np.linalg.norm(slope[:-1] - gradient)])
    score, slope = np.mean(errors, axis=0) / np.linalg.norm(gradient)
    return float(score), float(slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200_000)
    count, truth = parser.parse_args().episodes, exact()
    print("| estimator | greatest error of its mean, in standard errors | variance |\n| --- | ---: | ---: |")
    for name, samples in estimates(count).items():
        sure = samples.std(axis=0) / np.sqrt(count)
        error = np.abs((samples.mean(axis=0) - truth) / np.maximum(sure, 1e-12)).max()
        print(f"| {name} | {error:.1f} | {samples.var(axis=0).sum():.2f} |")
    print("\n| dimensions | spread | score function | critic's slope |\n| ---: | ---: | ---: | ---: |")
    for dimensions, spread in itertools.product(DIMENSIONS, SPREADS):
        score, slope = slopes(dimensions, spread)
        print(f"| {dimensions} | {spread:g} | {score:.3f} | {slope:.3f} |")


if __name__ == "__main__":
    main()
