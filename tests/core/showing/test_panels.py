"""What is drawn beside an episode says what the learner said: rows, colours, marks, one scale."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from operant.contracts import Outlook
from operant.core.showing.panels import BEST, BINS, REST, WIDTH, beside, histogram, scale_of


def frame():
    return Image.new("RGB", (100, 150), "#000000")


def pixels(picture, colour):
    """How many pixels of `colour` each row of the panel has."""
    panel = np.asarray(picture)[:, 100:]
    return (panel == ImageColor.getrgb(colour)).all(axis=-1).sum(axis=1)


def test_bars_are_as_long_as_values_and_the_greedy_one_stands_out():
    outlooks = [Outlook(np.array([0.0, 10.0, 5.0])), Outlook(np.array([0.0, -10.0, 5.0]))]
    first, second = beside([frame(), frame()], outlooks)
    assert first.size == second.size == (100 + WIDTH, 150)
    longest, best = pixels(first, BEST).max(), np.flatnonzero(pixels(first, BEST))
    assert 150 // 3 < best.mean() < 2 * 150 // 3, "the second action's row is in the middle"
    assert abs(pixels(first, REST).max() - 0.75 * longest) <= 2, "5 is three quarters of the way from -10 to 10"
    assert abs(pixels(second, BEST).max() - 0.75 * longest) <= 2, "the scale is the episode's, not the picture's"


def test_a_distribution_is_drawn_where_its_returns_are():
    returns = np.broadcast_to(np.linspace(0, 10, 11), (2, 11))
    chances = np.zeros((2, 11))
    chances[0, 2], chances[1, [1, 9]] = 1.0, 0.5
    (picture,) = beside([frame()], [Outlook((returns * chances).sum(axis=1), returns, chances)])
    columns = (np.asarray(picture)[:, 100:] == ImageColor.getrgb(BEST)).all(axis=-1).any(axis=0)
    places = np.flatnonzero(columns)
    assert len(np.flatnonzero(np.diff(places) > 20)) == 1, "two peaks, far from each other"
    assert pixels(picture, REST).sum() and (pixels(picture, REST)[80:] == 0).all(), "the other action's is above"


@pytest.mark.parametrize("distribution", [False, True])
def test_an_illegal_action_has_no_bar_and_no_place_in_the_scale(distribution):
    values, returns = np.array([-np.inf, 1.0, 2.0]), np.array([[100.0], [1.0], [2.0]])
    outlook = Outlook(values, *(returns, np.ones((3, 1))) if distribution else ())
    (picture,) = beside([frame()], [outlook])
    rows = np.flatnonzero(pixels(picture, REST) + pixels(picture, BEST))
    assert rows.min() >= 150 // 3 and rows.max() > 2 * 150 // 3 and scale_of([outlook]) == (1.0, 2.0)
    (picture,) = beside([frame()], [outlook._replace(values=np.full(3, -np.inf))])
    assert not pixels(picture, REST).any() and not pixels(picture, BEST).any()


def test_a_histogram_keeps_the_mass_and_counts_what_lies_beyond_at_the_ends():
    shares = histogram(np.array([-5.0, 0.1, 9.9, 10.0, 99.0]), np.array([0.1, 0.2, 0.3, 0.15, 0.25]), (0.0, 10.0))
    np.testing.assert_allclose(shares, [0.3, 0.0, 0.7])
    assert len(histogram(np.linspace(0, 1, 100), np.full(100, 0.01), (0.0, 1.0))) == BINS


def test_evenly_spaced_returns_leave_no_gaps():
    for number in range(2, BINS + 1):
        assert (histogram(np.linspace(-10, 90, number), np.full(number, 1 / number), (-10.0, 90.0)) > 0).all()


def test_the_scale_holds_every_value_and_all_but_the_unlikeliest_returns():
    returns = np.array([[100.0, 0.0, 5.0, -90.0]])
    chances = np.array([[0.001, 0.6, 0.398, 0.001]])
    assert scale_of([Outlook(np.array([2.0]), returns, chances)]) == (0.0, 5.0)
    assert scale_of([Outlook(np.array([-3.0]), returns, chances)]) == (-3.0, 5.0)
    assert scale_of([Outlook(np.array([1.0, 1.0]))]) == (0.5, 1.5)
    assert scale_of([Outlook(np.array([np.nan, np.inf]))]) == (0.0, 1.0)
