"""CQL: its penalty by the definition, its limits, and what it is for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import operant
from operant.core.data.datasets import Dataset
from operant.core.drivers.offline import OfflineDriver
from operant.environments import Compiled
from operant.environments.finite import Finite
from operant.errors import OperantError
from operant.finite import MDP
from operant.parts.networks import MLP
from operant.parts.replay.transitions import Batch
from operant.parts.values.deep_q import Goal

ACTIONS, STATES, ROWS = 3, 5, 400
FIELDS = {"discount": 0.8, "learning_rate": 0.01, "batch_size": 32, "target_every": 20, "network": MLP((16,))}


def world():
    """`STATES` states; any action leads anywhere."""
    return Compiled(
        Finite(MDP.from_arrays(np.full((STATES, ACTIONS, STATES), 1 / STATES), np.zeros((STATES, ACTIONS))))
    )


def dataset(actions, rewards, seed=0):
    """Rows of random states in which `actions` were done."""
    rng, space = np.random.default_rng(seed), world()
    states = rng.integers(0, STATES, ROWS + 1)
    ends = np.zeros(ROWS, bool)
    return Dataset(space.observation_space, space.action_space, states[:-1], actions, rewards, ends, ends, states[1:])


def trained(algorithm, data, steps=300):
    driver = OfflineDriver(algorithm, data, world())
    carry = driver.advance(driver.start(0), 0, steps, steps)
    return jax.tree.map(lambda leaf: leaf[0], carry.state), carry


def test_the_penalty_is_log_sum_exp_above_the_value_of_what_was_done():
    rng = np.random.default_rng(0)
    table = 3 * rng.normal(size=(STATES, ACTIONS))
    network = lambda memory, features: ((), features @ jnp.float32(table))  # noqa: E731
    states, action = rng.integers(0, STATES, 16), rng.integers(0, ACTIONS, 16)
    reward = rng.normal(size=16)
    features = jnp.eye(STATES)[states]
    batch = Batch(features, jnp.int32(action), jnp.float32(reward), jnp.full(16, 0.9), features)
    goal = Goal(jnp.float32(reward), jnp.full(16, 0.9), jnp.zeros((16, 1)))
    losses, metrics, priorities = operant.CQL(conservative_weight=2.5)._loss(network, batch, goal, jax.random.key(0))
    values = table[states]
    error = reward - values[np.arange(16), action]
    gap = np.log(np.exp(values).sum(axis=1)) - values[np.arange(16), action]
    np.testing.assert_allclose(losses, 0.5 * error**2 + 2.5 * gap, rtol=1e-5)
    np.testing.assert_allclose(metrics["conservative_gap"], gap.mean(), rtol=1e-5)
    np.testing.assert_allclose(priorities, np.abs(error), rtol=1e-5)


@pytest.mark.parametrize("n_step", [1, 3])
def test_without_weight_it_is_dqn_bit_for_bit(n_step):
    rng = np.random.default_rng(1)
    data = dataset(rng.integers(0, ACTIONS, ROWS), rng.normal(size=ROWS))
    fields = FIELDS | {"n_step": n_step}
    (plain, _), (none, _) = (
        trained(each, data) for each in (operant.DQN(**fields), operant.CQL(conservative_weight=0.0, **fields))
    )
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(none), strict=True):
        np.testing.assert_array_equal(one, other)
    some, _ = trained(operant.CQL(conservative_weight=0.1, **fields), data)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(plain.policy), jax.tree.leaves(some.policy), strict=True))


def test_it_does_what_the_data_did_where_dqn_believes_in_what_was_never_tried():
    """Action 0 alone was ever done, and costs 1 each time: what a network says of the others is its own invention."""
    data = dataset(np.zeros(ROWS, int), np.full(ROWS, -1.0))
    features = jnp.eye(STATES)
    for algorithm, faithful in ((operant.DQN(**FIELDS), False), (operant.CQL(**FIELDS), True)):
        state, _ = trained(algorithm, data, steps=1_000)
        chosen = np.argmax(np.asarray(algorithm._values(state.policy, features)), axis=1)
        assert (chosen == 0).all() if faithful else (chosen != 0).all(), type(algorithm).__name__


def test_more_weight_holds_more_down():
    rng = np.random.default_rng(2)
    data = dataset(rng.choice(ACTIONS, ROWS, p=[0.8, 0.2, 0.0]), rng.normal(size=ROWS))
    members = [operant.CQL(conservative_weight=weight, **FIELDS) for weight in (0.0, 0.3, 3.0)]
    driver = OfflineDriver(members, data, world())
    totals = driver.advance(driver.start(0), 0, 300, 300).totals["conservative_gap"]
    gaps = np.asarray(totals.total / totals.count)
    assert gaps[0] > gaps[1] > gaps[2]


def test_a_weight_below_zero_is_refused():
    with pytest.raises(OperantError, match="conservative_weight must be at least 0"):
        dataclasses.replace(operant.CQL(), conservative_weight=-1.0).check(world().spec(1))
