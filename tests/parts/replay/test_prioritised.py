"""Prioritised replay, item by item of Schaul et al. 2016."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.errors import OperantError
from operant.parts.component import check_fields
from operant.parts.replay import Draw, Prioritised, Uniform
from operant.parts.replay.prioritised import SMALLEST
from operant.parts.schedules import Linear
from tests.parts.replay.support import assert_carried_in_place

BLOCK, BLOCKS = 3, 5
ROWS = BLOCK * BLOCKS
KEY = jax.random.key(0)


def serials(first, count=BLOCK):
    return {"serial": first + jnp.arange(count, dtype=jnp.int32)}


def filled(replay, pushes, state=None, first=0):
    state = replay.init({"serial": jnp.int32(0)}, BLOCK) if state is None else state
    for push in range(first, first + pushes):
        state = replay.push(state, serials(push * BLOCK))
    return state


def chances(state):
    """The probability of each row, from the tree's own leaves."""
    weights = np.asarray(state.tree.leaves, np.float64).ravel()[:ROWS]
    return weights / weights.sum()


@functools.cache
def primed(alpha=0.5, beta=1.0):
    """A full replay whose rows have the priorities 1 to 15."""
    replay = Prioritised(ROWS, alpha, beta)
    state = filled(replay, BLOCKS)
    state = replay.update(state, whole(state), jnp.arange(1.0, ROWS + 1))
    return replay, state


def whole(state):
    return Draw(jnp.arange(ROWS, dtype=jnp.int32), jnp.ones(ROWS), state.pushes)


def test_rows_are_drawn_in_proportion_to_the_power_of_their_priorities():
    replay, state = primed()
    expected = np.sqrt(np.arange(1, ROWS + 1) + SMALLEST)
    expected /= expected.sum()
    np.testing.assert_allclose(chances(state), expected, rtol=1e-5)
    draw = jax.jit(lambda key: replay.draw(state, key, 30, 0.0).index)
    drawn = np.concatenate([draw(key) for key in jax.random.split(KEY, 400)])
    # Stratified draws vary less than independent ones, so that the test is on the safe side.
    assert stats.chisquare(np.bincount(drawn, minlength=ROWS), expected * len(drawn)).pvalue > 1e-3
    np.testing.assert_array_equal(replay.rows(state, jnp.asarray(drawn))["serial"], drawn)


def test_a_minibatch_has_one_row_of_each_equal_part_of_the_total():
    replay, state = primed()
    borders = np.cumsum(chances(state))
    for key in jax.random.split(KEY, 20):
        index = np.asarray(replay.draw(state, key, 8, 0.0).index)
        assert (np.diff(index) >= 0).all()
        low, high = np.concatenate([[0], borders])[index], borders[index]
        part = np.arange(8) / 8
        assert (low < part + 1 / 8).all() and (high > part).all()  # the row reaches into its part


def test_with_a_power_of_zero_rows_are_drawn_as_by_uniform_replay():
    replay, state = primed(alpha=0.0)
    np.testing.assert_allclose(chances(state), 1 / ROWS, rtol=1e-6)
    drawn = replay.draw(state, KEY, 3_000, 0.0)
    other = Uniform(ROWS)
    uniform = np.asarray(other.draw(filled(other, BLOCKS), KEY, 3_000).index)
    counts = [np.bincount(x, minlength=ROWS) for x in (np.asarray(drawn.index), uniform)]
    assert stats.chi2_contingency(counts).pvalue > 1e-3
    np.testing.assert_allclose(drawn.weights, 1.0, rtol=1e-5)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_importance_weights_have_the_annealed_power_and_the_largest_is_one(progress):
    _, state = primed()
    replay = Prioritised(ROWS, 0.5, Linear(0.4, 1.0))
    draw = replay.draw(state, KEY, 8, progress)
    weights = (ROWS * chances(state)[np.asarray(draw.index)]) ** -(0.4 + 0.6 * progress)
    np.testing.assert_allclose(draw.weights, weights / weights.max(), rtol=1e-5)
    np.testing.assert_allclose(draw.weights.max(), 1.0, rtol=1e-6)


def test_only_rows_that_are_filled_are_drawn():
    replay = Prioritised(ROWS, 1.0, 1.0)
    state = filled(replay, 2)
    draw = replay.draw(state, KEY, 12, 0.0)
    assert int(draw.index.max()) < 2 * BLOCK and int(replay.size(state)) == 2 * BLOCK
    np.testing.assert_allclose(draw.weights, 1.0)


def test_new_rows_have_the_highest_priority_that_there_was():
    replay, state = primed()
    highest = np.sqrt(ROWS + SMALLEST)
    np.testing.assert_allclose(state.highest, highest, rtol=1e-6)
    state = replay.update(state, whole(state), jnp.full(ROWS, 0.25))  # lower ones do not take it back
    state = replay.push(state, serials(100))
    leaves = np.asarray(state.tree.leaves).ravel()[:ROWS]
    np.testing.assert_allclose(leaves[:BLOCK], highest, rtol=1e-6)
    np.testing.assert_allclose(leaves[BLOCK:], np.sqrt(0.25 + SMALLEST), rtol=1e-6)
    fresh = filled(Prioritised(ROWS), 1)
    np.testing.assert_array_equal(np.asarray(fresh.tree.leaves).ravel()[:BLOCK], 1.0)


@pytest.mark.parametrize("pushes", [0, 1, 4, 5, 11])
@pytest.mark.parametrize("before", [5, 7])  # pushes before the draw: the ring's head is at 0 and at 2
def test_a_late_priority_does_not_land_on_a_row_that_was_overwritten(before, pushes):
    replay = Prioritised(ROWS, 1.0)
    state = filled(replay, before)
    drawn = whole(state)._replace(pushes=state.pushes)
    seen = np.asarray(replay.rows(state, drawn.index)["serial"])
    state = filled(replay, pushes, state, first=before)
    after = replay.update(state, drawn, jnp.full(ROWS, 7.0))
    same = np.asarray(replay.rows(after, drawn.index)["serial"]) == seen
    assert same.sum() == max(BLOCKS - pushes, 0) * BLOCK
    np.testing.assert_allclose(np.asarray(after.tree.leaves).ravel()[:ROWS], np.where(same, 7.0, 1.0), rtol=1e-5)
    np.testing.assert_allclose(after.highest, 7.0 if same.any() else 1.0, rtol=1e-5)


def test_the_count_of_pushes_may_wrap_around():
    replay, state = primed(alpha=1.0)
    drawn = whole(state)._replace(pushes=jnp.uint32(2**32 - 1))
    state = filled(replay, 2, state._replace(pushes=jnp.uint32(2**32 - 1)))
    assert int(state.pushes) == 1
    leaves = np.asarray(replay.update(state, drawn, jnp.zeros(ROWS)).tree.leaves).ravel()[:ROWS]
    assert (leaves[: 2 * BLOCK] > 1).all() and (leaves[2 * BLOCK :] < 1e-5).all()


def test_a_loop_that_may_run_no_times_carries_it_in_place():
    replay = Prioritised(4 * 60_013)
    state = replay.init({"serial": jnp.int32(0), "x": jnp.zeros(3)}, 4)

    def look(state, number):
        draw = replay.draw(state, jax.random.fold_in(KEY, number), 16, 0.5)
        row = replay.rows(state, draw.index)
        loss = (draw.weights * row["x"][:, 0]).mean()  # reads what the update writes
        return replay.update(state, draw, jnp.abs(row["x"][:, 0]) + number), loss

    rows = {"serial": jnp.arange(4, dtype=jnp.int32), "x": jnp.zeros((4, 3))}
    assert_carried_in_place(replay, state, lambda number: rows, look)


def test_ranges_are_checked():
    for replay, words in ((Prioritised(9, -0.1), "alpha"), (Prioritised(9, 0.6, Linear(0.4, 1.5)), "beta")):
        with pytest.raises(OperantError, match=words):
            check_fields(replay)
    assert [*jax.tree.leaves(Prioritised(9, 0.5, 0.4))] == [0.5, 0.4] and Uniform(3).capacity == 3
