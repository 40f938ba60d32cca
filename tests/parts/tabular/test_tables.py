"""Tables: the numbers of states, and policies given as tables."""

import itertools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from operant.contracts import Spec
from operant.errors import OperantError
from operant.parts.describe import build, fields_of
from operant.parts.tabular.tables import TablePolicy, num_actions, num_states, read, state_index


def every(space):
    """All observations of a space, in the order of their numbers."""
    if isinstance(space, Discrete):
        return [int(space.start) + k for k in range(space.n)]
    if isinstance(space, MultiDiscrete):
        ranges = [range(s, s + n) for s, n in zip(space.start.ravel(), space.nvec.ravel(), strict=True)]
        return [np.reshape(each, space.shape) for each in itertools.product(*ranges)]
    if isinstance(space, MultiBinary):
        size = int(np.prod(space.shape))
        return [np.reshape(each, space.shape).astype(np.int8) for each in itertools.product((0, 1), repeat=size)]
    if isinstance(space, Dict):
        names = sorted(space.spaces)
        product = itertools.product(*(every(space[name]) for name in names))
        return [dict(zip(names, each, strict=True)) for each in product]
    return list(itertools.product(*map(every, space.spaces)))


SPACES = [
    Discrete(5),
    Discrete(4, start=-2),
    MultiDiscrete([2, 3, 2]),
    MultiDiscrete([[2, 3], [2, 1]], start=[[1, -1], [0, 7]]),
    MultiBinary(4),
    MultiBinary([2, 2]),
    Tuple([Discrete(3, start=1), Discrete(2)]),
    Dict({"z": Discrete(2), "a": MultiDiscrete([3, 2]), "m": Tuple([Discrete(2), MultiBinary(1)])}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_observation_has_a_number_of_its_own(space):
    observations = every(space)
    assert num_states(space) == len(observations)
    assert all(space.contains(_exact(space, each)) for each in observations)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *observations)
    indices = state_index(space, batch)
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(indices, range(len(observations)))
    window = jax.tree.map(lambda leaf: leaf.reshape(1, -1, *leaf.shape[1:]), batch)
    np.testing.assert_array_equal(state_index(space, window), [list(range(len(observations)))])


def _exact(space, observation):
    """In the dtypes that `contains` insists on."""
    if isinstance(space, Dict):
        return {name: _exact(part, observation[name]) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_exact(part, each) for part, each in zip(space.spaces, observation, strict=True))
    return np.asarray(observation, space.dtype) if space.shape else np.int64(observation)


def test_blackjack_is_a_table():
    environment = gymnasium.make("Blackjack-v1")
    assert num_states(environment.observation_space) == 32 * 11 * 2
    observation, _ = environment.reset(seed=1)
    player, dealer, ace = observation
    assert int(state_index(environment.observation_space, observation)) == (player * 11 + dealer) * 2 + ace


def test_a_number_outside_is_taken_for_the_nearest():
    np.testing.assert_array_equal(state_index(Discrete(3, start=1), np.array([-5, 0, 1, 3, 9])), [0, 0, 0, 2, 2])


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (Box(0, 1, (2,)), "observations of Discrete"),
        (Tuple([Discrete(2), Box(0, 1, (2,))]), "observations of Discrete"),
        (MultiBinary(40), "too many"),
    ],
)
def test_what_has_no_table_is_refused(space, told):
    with pytest.raises(OperantError, match=told) as error:
        num_states(space)
    assert str(error.value).startswith("tabular learners need") and "\n" not in str(error.value)


def test_actions_must_be_discrete():
    assert num_actions(Discrete(3)) == 3
    with pytest.raises(OperantError, match="tabular learners need Discrete actions"):
        num_actions(Box(-1, 1, (1,)))


def test_reading_rows_and_entries():
    table = jnp.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(read(table, jnp.array([2, 0])), [[6, 7, 8], [0, 1, 2]])
    np.testing.assert_array_equal(read(table, jnp.array([2, 0]), jnp.array([1, 2])), [7, 2])


# Policies

SPEC = Spec(Discrete(3), Discrete(4), 1)
TABLE = ((0.1, 0.2, 0.3, 0.4), (0.0, 1.0, 0.0, 0.0), (0.5, 0.0, 0.5, 0.0))
COUNT = 40_000


def shares(policy, state):
    actions = jax.jit(lambda key: policy.select(key, jnp.full(COUNT, state), 4))(jax.random.key(1))
    assert actions.dtype == jnp.int32
    return np.bincount(actions, minlength=4) / COUNT


@pytest.mark.parametrize("state", range(3))
def test_a_table_policy_takes_each_action_as_often_as_it_says(state):
    expected = np.array(TABLE[state])
    found = shares(TablePolicy(TABLE), state)
    assert not found[expected == 0].any()
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(COUNT))
    np.testing.assert_allclose(shares(TablePolicy(), state), 0.25, atol=4 * 0.5 / np.sqrt(COUNT))


def test_a_table_policy_is_hashable_and_written_as_json():
    policy = TablePolicy.of(np.array(TABLE))
    assert policy == TablePolicy(TABLE) and hash(policy) == hash(TablePolicy(TABLE))
    assert build(TablePolicy, fields_of(policy), "here") == policy
    assert build(TablePolicy, fields_of(TablePolicy()), "here") == TablePolicy()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (TABLE[:2], "3 rows of 4"),
        ((*TABLE[:2], (1.0,)), "3 rows of 4"),
        ((*TABLE[:2], (0.5, 0.5, 0.5, 0.0)), "state 2"),
        (((1.5, -0.5, 0.0, 0.0), *TABLE[1:]), "state 0"),
        (((float("nan"), 0.5, 0.5, 0.0), *TABLE[1:]), "state 0"),
    ],
)
def test_a_table_that_is_no_policy_is_refused(table, told):
    TablePolicy(TABLE).check(SPEC)
    TablePolicy().check(SPEC)
    with pytest.raises(OperantError, match=told):
        TablePolicy(table).check(SPEC)
