"""The book's figures: published numbers in intervals that the runs' own spread sets, and wrong settings outside.

`make book` computes every number over the book's number of runs; here a few runs do, in intervals that are wider.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from book import control, harness, planning, testbed, walks
from book.__main__ import FIGURES, main
from book.recording import record
from operant.algorithms.tabular.mc_prediction import MCPrediction
from operant.algorithms.tabular.td import TD
from operant.environments.compiled import Compiled
from operant.environments.finite import Finite
from operant.errors import OperantError
from operant.finite import problems
from operant.finite.mdp import MDP

PAGE = Path(__file__).resolve().parent.parent / "docs" / "book" / "README.md"


def outside(figure: harness.Figure) -> list[str]:
    assert figure.picture.startswith(b"\x89PNG")
    assert all(np.isfinite(number.found) for number in figure.numbers)
    return [number.label for number in figure.numbers if not number.inside]


def chain(length: int) -> MDP:
    """`length` steps of reward 2 each, to the end."""
    outcomes = lambda state, action: [(1.0, state + 1, 2.0, False)]  # noqa: E731
    start = np.eye(length + 1)[0]
    return MDP.from_function(length + 1, 1, outcomes, terminal=[length], start=start, discount=1.0, horizon=9)


@pytest.mark.parametrize("learner", [TD, MCPrediction])
def test_a_record_is_what_happened(learner):
    """In a chain without chance: returns, lengths, and the value of the first state after each episode."""
    found = record(
        [learner(learning_rate=alpha) for alpha in (0.5, 1.0)], Compiled(Finite(chain(3))), 4, 2,
        lambda policy: policy.values[0],
    )  # fmt: skip
    assert found.returns.shape == (2, 2, 4)
    assert (found.returns == 6).all() and (found.lengths == 3).all() and (found.first_actions == 0).all()
    values, expected = np.zeros(4), np.zeros((2, 4))
    for k, alpha in enumerate((0.5, 1.0)):
        values = np.zeros(4)
        for episode in range(4):
            for state in range(3):
                target = 2.0 * (3 - state) if learner is MCPrediction else 2.0 + values[state + 1]
                values[state] += alpha * (target - values[state])
            expected[k, episode] = values[0]
    np.testing.assert_allclose(found.measures, np.broadcast_to(expected[:, None], found.measures.shape), rtol=1e-6)


def test_a_record_stops_after_so_many_steps():
    found = record([TD()], Compiled(Finite(chain(3))), 1000, 2, steps=100)
    assert (np.count_nonzero(found.lengths, axis=2) == 33).all()  # of three steps each


def test_only_one_environment_is_recorded():
    from book.recording import Recorder
    from operant.core.drivers.compiled import CompiledDriver

    with pytest.raises(OperantError, match="one environment, not in 2"):
        CompiledDriver(Recorder(TD()), Compiled(Finite(chain(3))), num_envs=2)


def test_intervals_follow_the_spread_and_the_rounding():
    samples = np.array([1.0, 3.0])  # standard deviation sqrt(2)
    number = harness.statistical("x", samples, 2.0, 0.5, published_runs=2)
    assert number.margin == pytest.approx(harness.WIDTH * np.sqrt(2.0) + 0.5)
    assert harness.Number("x", 2.0, 1.0, 1.0).inside and not harness.Number("x", 2.1, 1.0, 1.0).inside
    assert not harness.Number("x", float("nan"), 1.0, 1.0).inside


@pytest.mark.slow
def test_figure_6_2():
    assert outside(walks.figure_6_2(200)) == []


def test_a_wrong_learning_rate_is_outside():
    wrong = walks.figure_6_2(200, td={0.15: walks.TD_ERRORS[0.05]}, mc={0.04: walks.MC_ERRORS[0.02]})
    assert outside(wrong) == ["TD, α = 0.15", "MC, α = 0.04"]


@pytest.mark.parametrize("n", [1, 4, pytest.param(2, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)])  # fmt: skip # noqa: E501
def test_figure_7_2(n):
    alpha, _ = walks.BEST[n]
    assert outside(walks.figure_7_2(200, (alpha,), {n: walks.BEST[n]})) == []


def test_figure_7_2_with_another_n_is_outside():
    swapped = {1: (0.8, walks.BEST[4][1])}
    assert outside(walks.figure_7_2(200, (0.8,), swapped)) == ["n = 1, α = 0.8"]


def test_figure_2_2():
    assert outside(testbed.figure_2_2(500)) == []


def test_figure_2_2_with_another_epsilon_is_outside():
    wrong = {0.0: testbed.KNOWN[0.1], 0.1: testbed.KNOWN[0.0]}
    assert len(outside(testbed.figure_2_2(500, wrong))) == 4


@pytest.mark.slow
def test_figure_6_6():
    assert outside(control.figure_6_6(20)) == []


@pytest.mark.slow
def test_figure_8_2():
    assert outside(control.figure_8_2(60)) == []


@pytest.mark.parametrize("figure", [planning.figure_3_2, planning.figure_3_5, planning.figure_4_1, planning.figure_4_3])
def test_exact_figures(figure):
    assert outside(figure()) == []


def test_the_maximisation_bias_has_the_right_rewards():
    left, right = control.two_ways(), problems.maximisation_bias()
    assert left.outcomes(1, 3) == right.outcomes(1, 3)
    assert [left.outcomes(0, action)[0][1] for action in range(10)] == [1] * 5 + [2] * 5


def test_command(tmp_path, capsys, monkeypatch):
    assert main(["figure-4-1", "--folder", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["figure-4-1.png"]
    assert "-22.000000000" in capsys.readouterr().err
    monkeypatch.setattr(planning, "RANDOM_5X5", (3.3, 8.789))
    assert main(["figure-3-2", "--folder", str(tmp_path)]) == 1
    assert "outside of their intervals: v[0]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["figure-9-9"])
    assert "there is no figure-9-9" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["figure-4-1", "--folder", str(tmp_path / "file")]) == 1


def test_the_page_shows_every_figure_and_no_number_outside():
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"!\[[^]]*\]\(([\w-]+)\.png\)", text) == list(FIGURES)
    assert all((PAGE.parent / f"{name}.png").is_file() for name in FIGURES)
    assert "| inside |" in text and "outside**" not in text
