"""`operant solve`: what is printed and written, and what a mistake costs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from operant import finite
from operant.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(capsys, *argv):
    code = main(["solve", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_grid_is_drawn_with_arrows(capsys):
    code, out, err = said(capsys, "FrozenLake-v1", "--discount", "1", "--env-kwargs", "is_slippery=False")
    assert code == 0 and out == "" and "value at the start 1, certified within" in err
    lines = [line.split() for line in err.splitlines()[-4:]]
    assert [word for line in lines for word in line[:4]] == list("1111101011100110")
    arrows = [line[4:] for line in lines]
    assert arrows[1][1] == arrows[3][3] == "•" and arrows[0][0] in "↓→" and arrows[3][2] == "→"


def test_json_says_everything(capsys):
    code, out, _ = said(capsys, "gambler", "--method", "policy-iteration", "--json")
    told, exact = json.loads(out), finite.policy_iteration(finite.problems.gambler())
    assert code == 0 and out.count("\n") == 1
    np.testing.assert_array_equal(told["values"], exact.values)
    np.testing.assert_array_equal(told["policy"], exact.policy)
    assert told["action_values"][1][:2] == [exact.action_values[1, 0], None]  # a stake of 2 is not legal with 1
    assert (told["states"], told["actions"], told["discount"], told["horizon"]) == (101, 50, 1.0, None)
    assert told["gap"] <= 1e-9 and told["iterations"] >= 1 and told["seconds"] > 0


def test_out_keeps_the_arrays_and_a_picture(capsys):
    code, _, err = said(capsys, "dyna-maze", "--method", "gauss-seidel", "--out", "deep/er")
    assert code == 0 and err.count("written: ") == 3 and "█" in err
    arrays = load_file("deep/er/solution.safetensors")
    np.testing.assert_allclose(arrays["values"], finite.value_iteration(finite.problems.dyna_maze()).values, atol=1e-9)
    assert json.loads(Path("deep/er/solution.json").read_text())["environment"] == "dyna-maze"
    with Image.open("deep/er/values.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 20


def test_files_and_horizons(capsys):
    finite.from_gymnasium("FrozenLake-v1").save("lake.mdp")
    code, out, _ = said(capsys, "lake.mdp", "--method", "backward-induction", "--json")
    told = json.loads(out)
    assert code == 0 and told["horizon"] == 100 and told["start_value"] == pytest.approx(0.744190, abs=5e-7)
    assert np.shape(told["values"]) == (101, 16)
    code, out, err = said(capsys, "gridworld-5x5", "--method", "relative-value-iteration", "--json")
    assert code == 0 and json.loads(out)["start_value"] is None and "gain 2 per step" in err


@pytest.mark.parametrize(
    "argv, words",
    [
        (("FrozenLak-v1", "--discount", "1"), "unknown finite problem 'FrozenLak-v1': did you mean 'FrozenLake-v1'"),
        (("CartPole-v1",), "unknown finite problem 'CartPole-v1'"),
        (("gambler", "--method", "value-iterations"), "did you mean 'value-iteration'"),
        (("FrozenLake-v1",), "no discount of its own: give discount="),
        (("gambler", "--discount", "1.5"), "discount 1.5 is outside [0, 1]"),
        (("gambler", "--gamma", "1"), "Operant calls it --discount"),
        (("gambler", "--horizon", "3"), "value-iteration takes no horizon, but: discount, tolerance"),
        (("gambler", "--env-kwargs", "size=3"), "gambler could not be made: TypeError"),
        (("maze", "--env-kwargs", "height=0", "width=3"), "makes no sense"),
        (("gridworld-5x5", "--discount", "1"), "a loop that need never end passes a positive reward"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(capsys, argv, words):
    code, out, err = said(capsys, *argv, "--out", "made")
    assert code == 2 and out == "" and err.count("\n") == 1 and words in err
    assert not Path("made").exists()
