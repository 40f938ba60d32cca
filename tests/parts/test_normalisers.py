"""Normalisers: float64 statistics of everything seen, and reward scaling by an explicit per-step loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.parts.normalisers import Moments, ReturnScale, normalise, update, update_and_scale

RNG = np.random.default_rng(1)


def after(batches, shape=()):
    moments = Moments.init(shape)
    for batch in batches:
        moments = update(moments, jnp.asarray(batch, jnp.float32))
    return moments


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_moments_are_those_of_all_rows_at_any_offset(offset):
    # float32 holds numbers near 1e6 to 1/16, so the truth is computed from what float32 was given.
    data = (offset + RNG.normal(size=(60, 4, 5, 3)) * [1.0, 3.0, 10.0]).astype(np.float32)
    moments = after(data, (3,))
    truth = np.float64(data).reshape(-1, 3)
    # The running mean itself is rounded by up to half a unit in its last place at each of 60 merges.
    half = np.spacing(np.float32(offset + 1)) / 2
    np.testing.assert_allclose(moments.mean, truth.mean(0), rtol=1e-6, atol=1e-6 + 60 * half)
    # A mean wrong by `half` adds half^2 times the merge's share (1 + 1/2 + ... + 1/60 < 5 in all) and a cross term.
    np.testing.assert_allclose(moments.variance, truth.var(0), rtol=2e-4 if offset == 1e6 else 2e-5, atol=5 * half**2)
    assert float(moments.count) == 60 * 20
    assert all(leaf.dtype == jnp.float32 for leaf in moments)


def test_one_big_batch_far_from_zero_keeps_its_variance():
    data = (1e6 + RNG.normal(size=100_000)).astype(np.float32)
    moments = after([data])
    np.testing.assert_allclose(moments.variance, np.float64(data).var(), rtol=1e-4)


def test_uneven_batches_weigh_by_their_size_and_order_does_not_matter():
    data = RNG.normal(size=101) * 2 + 5
    parts = [data[:1], data[1:4], data[4:90], data[90:]]
    for moments in (after(parts), after(parts[::-1]), after([data])):
        np.testing.assert_allclose(moments.mean, data.mean(), rtol=1e-5)
        np.testing.assert_allclose(moments.variance, data.var(), rtol=1e-5)


def test_a_count_beyond_float32_does_not_inflate_the_variance():
    moments = Moments(jnp.float32(0), jnp.float32(1), jnp.float32(2**28))  # adding 4 to this count changes nothing
    run = jax.jit(lambda moments, batch: jax.lax.fori_loop(0, 10_000, lambda _, m: update(m, batch), moments))
    assert float(run(moments, jnp.array([-1.0, 1.0, -1.0, 1.0])).variance) == pytest.approx(1.0, abs=1e-3)


def test_normalise_standardises_clips_and_leaves_all_alone_before_any_update():
    data = jnp.asarray(RNG.normal(size=(500, 2)) * [2.0, 0.1] + [7.0, -3.0], jnp.float32)
    moments = after([data], (2,))
    scaled = np.float64(normalise(moments, data))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-5)
    np.testing.assert_allclose(normalise(moments, jnp.array([1e9, -1e9])), [10, -10])
    np.testing.assert_allclose(normalise(moments, jnp.array([1e9, -1e9]), clip=3.0), [3, -3])
    np.testing.assert_allclose(normalise(Moments.init((2,)), jnp.array([1.5, -2.0])), [1.5, -2.0], rtol=1e-6)
    pixels = normalise(Moments.init((2,)), jnp.array([[3, 5]], jnp.uint8))
    assert pixels.dtype == jnp.float32 and float(pixels[0, 1]) == pytest.approx(5)


def test_a_constant_feature_becomes_zero():
    moments = after([np.full((50, 1), 123.456)] * 5, (1,))
    np.testing.assert_array_equal(normalise(moments, jnp.full((3, 1), 123.456)), np.zeros((3, 1)))


def windows(count, length=20, envs=3, scale=1.0):
    shape = (count, length, envs)
    return (RNG.normal(size=shape) * scale + 0.3 * scale).astype(np.float32), RNG.random(shape) < 0.1


def scaled_windows(rewards, last, discount=0.9):
    state, out = ReturnScale.init(rewards.shape[2]), []
    step = jax.jit(update_and_scale)
    for reward, end in zip(rewards, last, strict=True):
        state, scaled = step(state, jnp.asarray(reward), jnp.asarray(end), discount)
        out.append(np.asarray(scaled))
    return state, np.array(out)


def test_rewards_are_divided_by_the_deviation_of_all_running_returns_so_far():
    rewards, last = windows(6)
    state, scaled = scaled_windows(rewards, last)
    running, seen = np.zeros(3), []
    for window in range(6):
        for t in range(20):
            running = 0.9 * running + rewards[window, t]
            seen.append(running)
            running = np.where(last[window, t], 0, running)
        truth = rewards[window] / np.std(seen)
        np.testing.assert_allclose(scaled[window], np.clip(truth, -10, 10), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.returns, running, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.moments.mean, np.mean(seen), rtol=1e-4)


def test_windows_may_be_cut_anywhere():
    rewards, last = windows(1, length=40)
    whole, _ = scaled_windows(rewards, last)
    halves, _ = scaled_windows(rewards.reshape(2, 20, 3), last.reshape(2, 20, 3))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_reward_does_not_matter(scale):
    rewards, last = windows(2)
    _, plain = scaled_windows(rewards, last)
    _, other = scaled_windows(rewards * np.float32(scale), last)
    np.testing.assert_allclose(plain, other, rtol=1e-4, atol=1e-6)


def test_the_first_windows_behave():
    _, scaled = scaled_windows(np.full((1, 1, 1), 3.0), np.zeros((1, 1, 1), bool))  # one return has no spread
    assert float(scaled[0, 0, 0]) == 3.0
    _, zero = scaled_windows(np.zeros((2, 5, 2)), np.zeros((2, 5, 2), bool))
    np.testing.assert_array_equal(zero, 0)
    _, tiny = scaled_windows(np.full((1, 5, 2), 1e-30), np.zeros((1, 5, 2), bool))  # its variance underflows
    assert np.isfinite(tiny).all()
    sparse = np.zeros((1, 1000, 1))
    sparse[0, 500, 0] = 1.0
    _, clipped = scaled_windows(sparse, np.ones((1, 1000, 1), bool))
    assert clipped.max() == 10.0 and np.count_nonzero(clipped) == 1
