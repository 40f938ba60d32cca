import subprocess
import sys

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from operant.core.showing.plots import plot_curve
from operant.core.statistics import bootstrap_interval
from operant.errors import CheckpointError


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws, checks the picture, and gives the axes that were saved."""

    def draw(*arguments, **named):
        figures = []
        save = matplotlib.figure.Figure.savefig

        def spy(figure, *args, **kwargs):
            figures.append(figure)
            save(figure, *args, **kwargs)

        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
        path = tmp_path / "curve.png"
        plot_curve(path, *arguments, **named)
        assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]
        picture = matplotlib.image.imread(path)
        assert picture.shape[0] > 400 and picture.shape[1] > 700 and picture.std() > 0
        (figure,) = figures
        (axes,) = figure.axes
        return axes

    return draw


def rows(returns, step=100):
    return [{"steps": step * (i + 1), "episode_return": value} for i, value in enumerate(returns)]


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_one_seed_is_drawn_raw_and_smoothed(drawn):
    values = np.random.default_rng(0).normal(size=90)
    axes = drawn([rows(values.tolist())], "a title")
    found = lines(axes)
    np.testing.assert_array_equal(found["training"], np.column_stack([np.arange(100, 9100, 100), values]))
    smooth = found["moving average (3 points)"]
    expected = [values[max(0, i - 1) : i + 2].mean() for i in range(90)]
    np.testing.assert_allclose(smooth[:, 1], expected, rtol=1e-12)
    np.testing.assert_array_equal(smooth[:, 0], found["training"][:, 0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("environment steps", "episode return")
    assert axes.get_title(loc="left") == "a title"
    assert not axes.collections  # no band


def test_several_seeds_are_a_mean_and_a_band(drawn):
    values = np.random.default_rng(1).normal(size=(5, 20))
    axes = drawn([rows(seed.tolist()) for seed in values], "title")
    mean = lines(axes)["mean of 5 seeds"]
    np.testing.assert_array_equal(mean[:, 0], np.arange(100, 2100, 100))
    np.testing.assert_allclose(mean[:, 1], values.mean(axis=0), rtol=1e-12)
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for column, ends in enumerate(zip(*bootstrap_interval(values), strict=True)):
        here = corners[corners[:, 0] == 100 * (column + 1), 1]
        np.testing.assert_allclose([here.min(), here.max()], ends, rtol=1e-12)


def test_seeds_are_averaged_only_where_all_have_data(drawn):
    early, late = rows([0.0, 2.0, 4.0]), rows([10.0, 30.0], step=150)  # at 100, 200, 300 and at 150, 300
    mean = lines(drawn([early, late], "title"))["mean of 2 seeds"]
    np.testing.assert_allclose(mean, [[150, 5.5], [200, (2 + 50 / 3) / 2], [300, 17.0]])
    apart = lines(drawn([rows([1.0, 2.0]), [{"steps": 900, "episode_return": 1.0}]], "title"))
    assert set(apart) == {"each seed", "_"}


def test_long_curves_of_many_seeds_are_thinned_from_end_to_end(drawn):
    axes = drawn([rows(np.arange(5000.0).tolist()), rows(np.arange(5000.0).tolist())], "title")
    mean = lines(axes)["mean of 2 seeds"]
    assert len(mean) == 300
    np.testing.assert_array_equal(mean[[0, -1]], [[100, 0], [500_000, 4999]])


def test_rows_without_a_finite_value_are_skipped(drawn):
    damaged = [*rows([1.0, 2.0]), {"steps": 300}, {"episode_return": 5.0}, {"steps": 400, "episode_return": None}]
    damaged += [{"steps": 500, "episode_return": float("nan")}, {"steps": 600, "episode_return": "text"}]
    np.testing.assert_array_equal(lines(drawn([damaged], "title"))["training"], [[100, 1], [200, 2]])
    np.testing.assert_array_equal(lines(drawn([damaged, []], "title"))["training"], [[100, 1], [200, 2]])


def test_evaluations_are_markers_at_their_means(drawn):
    first = [*rows([1.0, 2.0]), {"steps": 200, "evaluation/mean": 4.0}, {"steps": 100, "evaluation/mean": None}]
    second = [*rows([1.0, 2.0]), {"steps": 200, "evaluation/mean": 8.0}, {"steps": 300, "evaluation/mean": 9.0}]
    axes = drawn([first, second], "title")
    np.testing.assert_array_equal(lines(axes)["evaluation"], [[200, 6], [300, 9]])
    (markers,) = (line for line in axes.lines if line.get_label() == "evaluation")
    assert markers.get_marker() == "o" and markers.get_linewidth() == 0
    only = drawn([[{"steps": 5, "evaluation/mean": 1.0}]], "title")
    assert list(lines(only)) == ["evaluation"]


@pytest.mark.parametrize("nothing", [[], [[]], [[{"steps": 100, "loss": 1.0}], []]])
def test_without_an_episode_the_picture_says_so(drawn, nothing):
    axes = drawn(nothing, "title")
    assert [text.get_text() for text in axes.texts] == ["no episode has ended yet"]
    assert not axes.lines


def test_other_quantities_and_strange_titles_are_drawn(drawn):
    data = [{"seconds": 1, "loss/$x$": 2.0}, {"seconds": 0, "loss/$x$": 3.0}]
    axes = drawn([data], r"$\broken{$", x="seconds", y="loss/$x$")
    np.testing.assert_array_equal(lines(axes)["training"], [[0, 3], [1, 2]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "loss/$x$")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.*cannot be written"):
        plot_curve(tmp_path / "nowhere" / "curve.png", [], "title")


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    program = (
        "import sys, pathlib, operant.core.showing.plots as p; print('matplotlib' in sys.modules);"
        "p.plot_curve(pathlib.Path(sys.argv[1]), [], 't'); print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "curve.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]
