"""Sequences in a replay against whole streams: every step once, the right steps before, the right memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.contracts import Spec, Step, Window
from operant.core.drivers.loop import severed
from operant.parts.replay import Uniform
from operant.parts.replay.sequences import example_of, minibatch, rows_of
from operant.parts.values.replay_q import State

TIMES, ENVS = 24, 3
SPEC = Spec(Box(-np.inf, np.inf, (1,), np.float32), Discrete(2), ENVS)


def streams(seed=0):
    """One long stream for each environment; observations, memories and what followed tell their step."""
    rng = np.random.default_rng(seed)
    serial = 1 + np.arange(TIMES * ENVS, dtype=np.float32).reshape(TIMES, ENVS)
    terminated, truncated = rng.uniform(size=(2, TIMES, ENVS)) < 0.12
    assert terminated.any() and (truncated & ~terminated).any()
    action, reward = rng.integers(0, 2, (TIMES, ENVS)).astype(np.int32), rng.normal(size=(TIMES, ENVS))
    observation, following, memory = serial[..., None], 1000 + serial[..., None], {"h": 2000 + serial[..., None]}
    return Step(observation, action, np.float32(reward), terminated, truncated, following, memory)


def pushed(steps, length, burn_in, cleared=()):
    row, carried = example_of({"h": jnp.zeros(1)}, SPEC, length, burn_in)
    replay = Uniform(TIMES // length * ENVS)
    state = replay.init(row, block=ENVS)

    @jax.jit
    def push(state, window, carried):
        rows, carried = rows_of(window, carried)
        return replay.push(state, rows), carried

    for first in range(0, TIMES, length):
        cut = jax.tree.map(lambda leaf, first=first: jnp.asarray(leaf[first : first + length]), steps)
        memory = jax.tree.map(lambda leaf: leaf[0], cut.extras)
        if first in cleared:  # what a driver does whose environments were reset by hand
            carried = severed(State((), (), (), (), carried)).carried
        state, carried = push(state, Window(cut, memory, jnp.arange(ENVS), jnp.int32(0)), carried)
    whole = jnp.arange(int(replay.size(state)), dtype=jnp.int32)
    return jax.jit(lambda state: minibatch(replay.rows(state, whole), SPEC))(state)


@pytest.mark.parametrize(("length", "burn_in"), [(4, 0), (4, 1), (4, 3), (6, 6), (1, 1)])
def test_rows_are_windows_with_the_steps_before_them(length, burn_in):
    check(streams(), length, burn_in)


def check(steps, length, burn_in, cleared=()):
    batch = pushed(steps, length, burn_in, cleared)
    last = steps.terminated | steps.truncated
    for number in range(TIMES // length * ENVS):
        first, env = number // ENVS * length, number % ENVS
        now = slice(first, first + length)
        for got, expected in (
            (batch.features[burn_in:, number], steps.observation[now, env]),
            (batch.following[:, number], steps.next_observation[now, env]),
            (batch.action[:, number], steps.action[now, env]),
            (batch.reward[:, number], steps.reward[now, env]),
            (batch.continues[:, number], 1.0 - steps.terminated[now, env]),
            (batch.last[burn_in:, number], last[now, env]),
        ):
            np.testing.assert_array_equal(got, expected)
        if first == 0 or first in cleared:  # nothing came before: whatever is there ends, and memory starts anew
            assert np.asarray(batch.last[:burn_in, number]).all()
            assert burn_in or batch.memory["h"][number] == steps.extras["h"][first, env]
        else:
            before = slice(first - burn_in, first)
            np.testing.assert_array_equal(batch.features[:burn_in, number], steps.observation[before, env])
            np.testing.assert_array_equal(batch.last[:burn_in, number], last[before, env])
            assert batch.memory["h"][number] == steps.extras["h"][first - burn_in, env]


def test_a_stream_that_was_cut_by_hand_is_not_crossed():
    check(streams(1), 4, 2, cleared=(8, 20))
    joined, cut = (pushed(streams(1), 4, 2, cleared).last for cleared in ((), (8, 20)))
    assert (np.asarray(joined) != np.asarray(cut)).any()


def test_without_warming_nothing_is_carried():
    row, carried = example_of(jnp.zeros(5), SPEC, 7, 0)
    assert carried == () and row.observation.shape == (7, 1) and row.memory.shape == (5,)
