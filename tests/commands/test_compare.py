"""`operant compare`: planned and learned policies, each valued exactly."""

import json

import pytest

from operant.cli import main


def said(capsys, *argv):
    code = main(["compare", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_learning_without_the_dynamics_reaches_what_planning_finds(capsys):
    argv = ("gridworld-4x4", "--algorithms", "q-learning,monte-carlo", "--steps", "4000", "--num-seeds", "2", "--json")
    code, out, err = said(capsys, *argv)
    told = json.loads(out)
    assert code == 0 and told["start_value"] == pytest.approx(-2.0) and not told["completed"]
    value, policy, learned, refused = told["rows"]
    assert value["regret"] == policy["regret"] == pytest.approx(0, abs=1e-9) and value["kind"] == "planned"
    assert learned["optimal_seeds"] == 2 and learned["worst_regret"] <= 1e-6 and learned["work"] == 4000
    assert "no time limit" in refused["note"] and refused["regret"] is None and "monte-carlo: " in err


def test_illegal_actions_are_given_a_meaning_and_it_is_said(capsys):
    argv = ("gambler", "--methods", "gauss-seidel", "--algorithms", "random", "--steps", "64", "--num-seeds", "1")
    code, out, err = said(capsys, *argv, "--json")
    told = json.loads(out)
    assert code == 0 and told["completed"] and "does what its state's first legal action does" in err
    assert told["rows"][1]["regret"] > 0 == told["rows"][1]["optimal_seeds"]


@pytest.mark.parametrize(
    "argv, words",
    [
        (("gridworld-4x4", "--algorithms", "q-lerning"), "did you mean 'q-learning'"),
        (("gridworld-4x4", "--methods", "value-iter"), "did you mean 'value-iteration'"),
        (("CartPole-v1",), "unknown finite problem 'CartPole-v1'"),
        (("FrozenLake-v1", "--methods", "backward-induction"), "backward-induction answers another question"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, words):
    code, out, err = said(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and words in err
