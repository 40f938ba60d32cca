"""Returns of several steps from a replay, against their definition on whole streams, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.contracts import Spec, Step, Window
from operant.parts.replay import Prioritised, Uniform
from operant.parts.replay.transitions import example_of, minibatch, rows_of, stretches

DISCOUNT, TIMES, ENVS = 0.9, 24, 3
SPEC = Spec(Box(-np.inf, np.inf, (1,), np.float32), Discrete(2), ENVS)


def streams(seed=0):
    """One long stream for each environment; everything observed is recognisable."""
    rng = np.random.default_rng(seed)
    shape = TIMES, ENVS
    serial = np.arange(TIMES * ENVS, dtype=np.float32).reshape(shape)
    terminated, truncated = rng.uniform(size=(2, *shape)) < 0.12
    assert terminated.any() and (truncated & ~terminated).any()
    reward = rng.normal(size=shape).astype(np.float32)
    return Step(
        serial[..., None], rng.integers(0, 2, shape), reward, terminated, truncated, 1000 + serial[..., None], ()
    )


def windows(steps, length):
    for first in range(0, TIMES, length):
        cut = jax.tree.map(lambda leaf, first=first: jnp.asarray(leaf[first : first + length]), steps)
        yield Window(cut, (), jnp.arange(ENVS), jnp.int32(0))


def pushed(replay, steps, length, n_step, cleared=()):
    row, carried = example_of(SPEC, n_step)
    state = replay.init(row, block=length * ENVS)
    push = jax.jit(lambda state, window, carried: _pushed(replay, state, window, carried))
    for number, window in enumerate(windows(steps, length)):
        if number in cleared:  # what a driver does whose environments were reset by hand
            carried = jnp.zeros_like(carried)
        state, carried = push(state, window, carried)
    return state


def _pushed(replay, state, window, carried):
    rows, carried = rows_of(window, carried)
    return replay.push(state, rows), carried


def expected(steps, n, time, env, severed=()):
    """`(reward, discount, following)` of the return from `(time, env)`, by its definition."""
    total = 0.0
    for k in range(n):
        now = time + k
        total += DISCOUNT**k * float(steps.reward[now, env])
        ended = steps.terminated[now, env] or steps.truncated[now, env]
        if ended or k == n - 1 or now + 1 == TIMES or now + 1 in severed:
            continues = 0.0 if steps.terminated[now, env] else 1.0
            return total, DISCOUNT ** (k + 1) * continues, steps.next_observation[now, env, 0]
    raise AssertionError


CASES = [(Uniform(36), 1, 1), (Uniform(36), 1, 2), (Uniform(36), 4, 3), (Uniform(48), 4, 5), (Uniform(48), 4, 1)]
CASES += [(Prioritised(400), 1, 3), (Prioritised(36), 4, 5)]


@pytest.mark.parametrize(("replay", "length", "n"), CASES)
def test_returns_are_those_of_their_streams(replay, length, n):
    steps = streams()
    state = pushed(replay, steps, length, n)
    check(replay, state, steps, n)


def check(replay, state, steps, n, severed=()):
    rows = int(replay.size(state))
    index = jnp.arange(rows, dtype=jnp.int32)
    batch = jax.jit(lambda state: minibatch(stretches(replay, state, index, n, SPEC), jnp.float32(DISCOUNT), SPEC))(
        state
    )
    seen = np.asarray(batch.features)[:, 0].astype(int)
    held = -(-min(replay.capacity, TIMES * ENVS) // ENVS)
    assert len(set(seen)) == rows >= held * ENVS and seen.min() == TIMES * ENVS - rows  # the newest, each once
    for row, serial in enumerate(seen):
        time, env = divmod(serial, ENVS)
        reward, discount, following = expected(steps, n, time, env, severed)
        assert batch.action[row] == steps.action[time, env]
        np.testing.assert_allclose(batch.reward[row], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[row], discount, rtol=1e-6)
        assert batch.following[row, 0] == following


def test_a_stream_that_was_cut_by_hand_is_not_crossed():
    steps = streams(1)
    replay = Uniform(TIMES * ENVS)
    state = pushed(replay, steps, 4, 3, cleared=(2, 5))
    check(replay, state, steps, 3, severed=(8, 20))
    with pytest.raises(AssertionError):
        check(replay, state, steps, 3)


def test_one_step_keeps_nothing_beside_the_transition():
    row, carried = example_of(SPEC, 1)
    assert carried == () and row.begins == ()
    assert len(jax.tree.leaves(row)) == 5
