"""Tile coding: against the book's own coder, written out, and the geometry that it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.errors import OperantError
from operant.parts.tabular.tiles import Tiles

LOW, HIGH = np.float32([-1.2, -0.07]), np.float32([0.6, 0.07])
CAR = Box(LOW, HIGH)


def coder(tilings, bins, point):
    """The cells of a point as Sutton's tile coder counts them: a tuple for each tiling."""
    quantised = np.floor((point - LOW) / (HIGH - LOW) * bins * tilings).astype(int)
    return [
        tuple((q + tiling * (1 + 2 * k)) // tilings - tiling * (1 + 2 * k) // tilings for k, q in enumerate(quantised))
        for tiling in range(tilings)
    ]


def points(count=3000):
    inside = np.random.default_rng(0).uniform(0.001, 0.999, (count, 2))
    return (LOW + inside * (HIGH - LOW)).astype(np.float32)


@pytest.mark.parametrize(("tilings", "bins"), [(8, 8), (4, 6), (1, 5), (5, 3)])
def test_points_share_tiles_exactly_where_the_books_coder_says(tilings, bins):
    tiles = Tiles(tilings, bins)
    numbers = np.asarray(jax.jit(lambda x: tiles.features(CAR, x))(points()))
    assert numbers.shape == (3000, tilings) and numbers.dtype == np.int32
    assert numbers.min() >= 0 and numbers.max() < tiles.size(CAR)
    pairs = {}
    for point, mine in zip(points(), numbers, strict=True):
        for tiling, (cell, number) in enumerate(zip(coder(tilings, bins, point.astype(float)), mine, strict=True)):
            pairs.setdefault((tiling, *cell), set()).add(int(number))
    # One to one, but for points within rounding of a border.
    assert np.mean([len(found) == 1 for found in pairs.values()]) > 0.99
    assert len({n for found in pairs.values() for n in found}) == len(pairs)


def test_nearby_points_share_more_tiles_than_far_ones():
    tiles, centre = Tiles(8, 8), LOW + 0.5 * (HIGH - LOW)
    cell = (HIGH - LOW) / 8
    shared = [
        len(set(np.asarray(tiles.features(CAR, centre)).tolist())
            & set(np.asarray(tiles.features(CAR, centre + step * cell)).tolist()))
        for step in (0.01, 0.3, 0.6, 1.3)
    ]  # fmt: skip
    assert shared[0] >= 7 and shared[0] > shared[1] > shared[2] > shared[3] == 0


def test_bounds_and_what_lies_outside_belong_to_the_last_cells():
    tiles = Tiles(8, 8)
    edge, beyond = (tiles.features(CAR, jnp.asarray(x)) for x in (HIGH, HIGH + 5))
    np.testing.assert_array_equal(edge, beyond)
    assert int(jnp.max(edge)) < tiles.size(CAR) == 8 * 81


def test_hashed_tiles_fill_their_memory_evenly():
    tiles = Tiles(8, 32, memory=1024)
    assert tiles.size(CAR) == 1024
    numbers = np.asarray(tiles.features(CAR, points(20_000)))
    exact = np.asarray(Tiles(8, 32).features(CAR, points(20_000)))
    assert numbers.min() >= 0 and numbers.max() < 1024
    # A function of the cell, and about as many cells to each number as chance would give.
    table = dict(zip(exact.ravel().tolist(), numbers.ravel().tolist(), strict=True))
    np.testing.assert_array_equal([table[n] for n in exact.ravel()], numbers.ravel())
    load = np.bincount(list(table.values()), minlength=1024)
    assert load.var() < 1.5 * load.mean()


def test_discrete_states_are_grouped():
    numbers = np.asarray(Tiles(1, 10).features(Discrete(1000), jnp.arange(1000)))[:, 0]
    np.testing.assert_array_equal(numbers, np.arange(1000) // 100)


def test_what_cannot_be_tiled_is_refused():
    for tiles, space, match in (
        (Tiles(), Box(-np.inf, np.inf, (2,)), "bounds"),
        (Tiles(bins=0), CAR, "bins"),
        (Tiles(), Box(0.0, 1.0, (12,)), "memory"),
    ):
        with pytest.raises(OperantError, match=match):
            tiles.size(space)
