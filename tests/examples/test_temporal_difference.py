"""The open loops of the examples learn what the book says, and run from the command line."""

import runpy
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "tabular"


@pytest.fixture(scope="module")
def cliff():
    return gymnasium.make("CliffWalking-v1")


def test_q_learning_finds_the_edge_of_the_cliff(cliff):
    example = runpy.run_path(str(FOLDER / "q_learning.py"))
    values, returns = example["q_learning"](cliff, 400)
    assert example["greedy_path"](values) == [36, *range(24, 36), 47]
    assert returns.shape == (400,)


def test_sarsa_keeps_away_from_it(cliff):
    example = runpy.run_path(str(FOLDER / "sarsa.py"))
    _, safe = example["sarsa"](cliff, 400)
    _, bold = runpy.run_path(str(FOLDER / "q_learning.py"))["q_learning"](cliff, 400)
    assert safe[-200:].mean() > bold[-200:].mean() + 5


@pytest.mark.parametrize("dutch", [True, False])
def test_td_lambda_comes_close_to_the_true_values(dutch):
    example = runpy.run_path(str(FOLDER / "td_lambda.py"))
    # The start, with every value zero, is 0.548 away.
    errors = [example["error"](example["td_lambda"](50, dutch=dutch, seed=seed)) for seed in range(5)]
    assert np.mean(errors) < 0.25


@pytest.mark.parametrize("name", ["q_learning", "sarsa", "td_lambda"])
def test_each_runs_as_a_program(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), "10"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    assert "10 episodes" in printed
