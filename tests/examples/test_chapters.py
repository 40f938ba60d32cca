"""The open loops of bandits, Monte-Carlo, Dyna and tiles learn what the book says, and agree with the library."""

import runpy
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from operant.finite.problems.mazes import DYNA
from operant.parts.tabular.tiles import Tiles

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "tabular"


def example(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def test_exploring_pays_on_the_testbed():
    testbed = example("bandit")["testbed"]
    (greedy, few), (exploring, many) = testbed(0.0, 60), testbed(0.1, 60)
    assert exploring > greedy + 0.1 and many > few + 0.2 and abs(exploring - 1.38) < 0.35


def test_monte_carlo_learns_blackjack():
    module, game = example("monte_carlo_blackjack"), gymnasium.make("Blackjack-v1")
    values = module["monte_carlo"](game, 15_000)
    # -0.047 is optimal, a random player loses 0.39 a game; 4000 games are known to about 0.015.
    assert module["mean_return"](game, values, 4000) > -0.16
    assert (values[20, 1:, 0].argmax(axis=-1) == 0).all() and (values[12:14, 10, 0].argmax(axis=-1) == 1).all()


def test_planning_shortens_the_way_through_the_maze():
    module = example("dyna_maze")
    assert module["MAZE"] == DYNA
    plain, planned = (np.mean([module["dyna_q"](8, n, seed=seed) for seed in range(3)], axis=0) for n in (0, 20))
    assert planned[3:].max() < 25 < plain[3:].min() and planned.min() >= 14


def test_the_mountain_car_gets_out():
    module = example("mountain_car_tiles")
    environment = gymnasium.make("MountainCar-v0", max_episode_steps=10_000)
    lengths = module["sarsa"](environment, 40)
    assert lengths[-10:].mean() < 220 < lengths[0]
    space = environment.observation_space
    for state in (space.low, space.high, np.array([-0.5, 0.01]), np.array([0.1, -0.03])):
        np.testing.assert_array_equal(module["tiles"](state, space.low, space.high), Tiles(8, 8).features(space, state))


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("bandit", "2", "over 2 problems"), ("monte_carlo_blackjack", "50", "after 50 episodes"),
        ("dyna_maze", "2", "2 episodes"), ("mountain_car_tiles", "2", "2 episodes"),
    ],
)  # fmt: skip
def test_each_runs_as_a_program(name, count, said):
    command = [sys.executable, str(FOLDER / f"{name}.py"), count]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    assert said in printed
