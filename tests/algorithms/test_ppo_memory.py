"""PPO with memory: states are computed anew, minibatches are whole environments, critics remember across windows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.core.drivers.loop import severed
from operant.parts.networks import GRU
from tests.algorithms.ppo_windows import (
    ENVS,
    EPOCHS,
    LAST,
    LENGTH,
    MINIBATCHES,
    STILL,
    init,
    learned,
    loud,
    recorded,
    spec_of,
    window_of,
)
from tests.algorithms.support import references

RECURRENT = dataclasses.replace(STILL, network=GRU(3, (4,)), normalise=())
COLUMNS = spec_of(ENVS)


@pytest.fixture(scope="module")
def remembering():
    """A state, and two windows that follow one another, each environment showing its own one-hot observation."""
    state = loud(init(RECURRENT, 2, COLUMNS))
    observation = np.tile(np.eye(ENVS), (LENGTH, 1, 1)) * np.linspace(0.5, 2.0, LENGTH)[:, None, None]
    memory = jnp.float32(np.random.default_rng(0).normal(size=(ENVS, 3)))
    first, memory = window_of(RECURRENT, state, observation, 0.3 * observation, COLUMNS, memory)
    second, _ = window_of(RECURRENT, state, observation, 0.3 * observation, COLUMNS, memory, seed=4)
    return state, first, second


def test_states_are_recomputed_from_the_windows_memory_and_start_anew_at_ends(remembering):
    state, *windows = remembering
    for window in windows:
        _, metrics = learned(RECURRENT, state, window, spec=COLUMNS)
        assert abs(metrics["approximate_kl"]) < 1e-10 and metrics["clip_fraction"] == 0.0
    window = windows[1]
    forgetful = window._replace(memory=jnp.zeros_like(window.memory))
    endless = window._replace(steps=window.steps._replace(terminated=jnp.zeros_like(window.steps.terminated)))
    for wrong in (forgetful, endless):
        assert learned(RECURRENT, state, wrong, spec=COLUMNS)[1]["approximate_kl"] > 1e-6


def test_minibatches_are_whole_environments(remembering):
    state, window, _ = remembering
    after, _ = learned(RECURRENT, state, window, spec=COLUMNS)
    for network in recorded(after)[0].network, recorded(after)[1]:
        rows = np.abs(np.asarray(network.parameters.body.layers[0].weight)).max(axis=2) > 0
        epochs = rows.reshape(EPOCHS, MINIBATCHES, ENVS)
        assert (epochs.sum(axis=2) == ENVS // MINIBATCHES).all() and (epochs.sum(axis=1) == 1).all()


def test_the_critics_memory_goes_on_from_window_to_window_by_slots(remembering):
    state, first, second = remembering
    begun = state.critic.start(ENVS)
    observation = jnp.concatenate([first.steps.observation, second.steps.observation])
    halfway, _, _ = state.critic.unroll(begun, first.steps.observation, jnp.asarray(LAST))
    whole, _, _ = state.critic.unroll(begun, observation, jnp.concatenate([LAST, LAST]))
    assert np.abs(np.asarray(whole - halfway)).max() > 1e-3 and not np.any(whole[2])  # the third ended with the window
    order = jnp.array([2, 0, 3, 1])
    mixed = first._replace(
        steps=jax.tree.map(lambda leaf: leaf[:, order], first.steps), memory=first.memory[order], slots=order
    )
    for one in (first, mixed):
        once, _ = learned(RECURRENT, state, one, spec=COLUMNS)
        np.testing.assert_allclose(once.carried.memory, halfway, atol=1e-6)
        twice, _ = learned(RECURRENT, once, second, spec=COLUMNS)
        np.testing.assert_allclose(twice.carried.memory, whole, atol=1e-6)


def test_a_loop_whose_environments_were_reset_between_windows_clears_what_streams_carry(remembering):
    state, first, second = remembering
    cut, _ = learned(dataclasses.replace(RECURRENT, normalise=("rewards",)), state, first, spec=COLUMNS)
    assert all(np.abs(np.asarray(leaf)).max() > 1e-3 for leaf in jax.tree.leaves(cut.carried))
    anew = severed(cut)
    for new, fresh in zip(jax.tree.leaves(anew.carried), jax.tree.leaves(state.carried), strict=True):
        np.testing.assert_array_equal(new, fresh)
    for new, old in zip(
        jax.tree.leaves(anew._replace(carried=())), jax.tree.leaves(cut._replace(carried=())), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    memory = learned(RECURRENT, anew, second, spec=COLUMNS)[0].carried.memory
    assert np.abs(np.asarray(memory - learned(RECURRENT, cut, second, spec=COLUMNS)[0].carried.memory)).max() > 1e-4


def test_values_bootstrap_through_the_memory_before_any_restart(remembering):
    state, _, window = remembering
    carried = jnp.float32(np.random.default_rng(1).normal(size=(ENVS, 3)))
    _, metrics = learned(
        RECURRENT, state._replace(carried=state.carried._replace(memory=carried)), window, spec=COLUMNS
    )
    memory = carried
    values, after = np.zeros((LENGTH, ENVS)), np.zeros((LENGTH, ENVS))
    for t in range(LENGTH):
        memory, value = state.critic(memory, window.steps.observation[t])
        values[t], after[t] = value[:, 0], state.critic(memory, window.steps.next_observation[t])[1][:, 0]
        memory = jnp.where(jnp.asarray(LAST[t])[:, None], 0.0, memory)
    advantage, target = references(window, values, after, 0.9, 0.8)
    np.testing.assert_allclose(metrics["value_loss"], 0.5 * np.mean(advantage**2), rtol=1e-5)
    np.testing.assert_allclose(metrics["explained_variance"], 1 - np.var(advantage) / np.var(target), rtol=1e-4)
