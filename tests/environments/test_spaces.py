"""Spaces at the edge: gymnax's become Gymnasium's, actions reach their bounds, and spaces survive a file."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Text, Tuple
from gymnax.environments import spaces as gymnax_spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operant.environments import compiled_names
from operant.environments.own import OWN
from operant.environments.spaces import (
    environment_action,
    gymnasium_space,
    learner_space,
    space_from_json,
    space_to_json,
)
from operant.errors import OperantError
from operant.finite.named import problem_names
from operant.workers.leaves import map_leaves


@pytest.mark.parametrize("name", sorted({*compiled_names()} - {*problem_names()} - {*OWN}))
def test_every_gymnax_environment_is_understood(name):
    import gymnax

    environment, params = gymnax.make(name)
    for told in (environment.observation_space(params), environment.action_space(params)):
        space = gymnasium_space(told)
        if isinstance(told, gymnax_spaces.Discrete):
            assert space == Discrete(told.n)
            continue
        assert isinstance(told, gymnax_spaces.Box) and isinstance(space, Box)
        assert space.shape == tuple(told.shape) and space.dtype == np.dtype(told.dtype)
        for bound, known in ((space.low, told.low), (space.high, told.high)):
            np.testing.assert_array_equal(bound, np.broadcast_to(np.asarray(known, space.dtype), space.shape))
    learner_space(gymnasium_space(environment.action_space(params)))
    assert "MNISTBandit-bsuite" not in compiled_names() and len(compiled_names()) > 20


def test_composite_and_unknown_gymnax_spaces():
    box = gymnax_spaces.Box(jnp.array([0.0, -1.0]), 1.0, (2,))
    told = gymnax_spaces.Dict({"b": gymnax_spaces.Discrete(3), "a": gymnax_spaces.Tuple([box])})
    expected = Dict({"a": Tuple([Box(np.array([0, -1], np.float32), 1.0, (2,))]), "b": Discrete(3)})
    assert gymnasium_space(told) == expected
    assert gymnasium_space(expected) is expected
    with pytest.raises(OperantError, match="spaces of int are not served"):
        gymnasium_space(3)


BOUNDS = Box(np.array([-2, 0, -1e5], np.float32), np.array([2, 1, 3], np.float32))


@pytest.mark.parametrize("xp", [np, jnp])
def test_bounded_actions_are_stretched_and_clipped(xp):
    assert learner_space(BOUNDS) == Box(-1.0, 1.0, (3,))
    units = [-1.0, -0.5, 0.0, 1.0, -7.0, 7.0, np.inf]
    action = xp.asarray(np.repeat(np.float32(units)[:, None], 3, axis=1))
    found = environment_action(BOUNDS, action, xp)
    shares = (np.clip(units, -1, 1) + 1)[:, None] / 2
    np.testing.assert_allclose(found, BOUNDS.low + shares * (BOUNDS.high - BOUNDS.low), rtol=1e-6, atol=1e-6)
    assert found.dtype == np.float32 and isinstance(found, np.ndarray if xp is np else jnp.ndarray)
    np.testing.assert_array_equal(np.asarray(found)[[0, 3]], np.stack([BOUNDS.low, BOUNDS.high]))


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None)
def test_no_action_leaves_its_space(low, width, dtype):
    space = Box(dtype(low), dtype(low + width), (2,), dtype)
    for unit in (-1.0, 1.0, 0.99999994, 3.0):
        action = environment_action(space, np.full(2, unit, np.float32))
        assert space.contains(action), (space, action)


@pytest.mark.parametrize("xp", [np, jnp])
def test_actions_without_two_bounds_pass_but_for_the_bound_they_have(xp):
    action = xp.asarray(np.float32([[-500.0, 12.5], [3.0, -3.0]]))
    free = Box(-np.inf, np.inf, (2,))
    assert learner_space(free) is free
    np.testing.assert_array_equal(environment_action(free, action, xp), action)
    half = Box(np.float32([0, -np.inf]), np.float32([np.inf, np.inf]))
    np.testing.assert_array_equal(environment_action(half, action, xp), [[0.0, 12.5], [3.0, -3.0]])


@pytest.mark.parametrize("xp", [np, jnp])
def test_discrete_actions_start_where_the_space_does(xp):
    space = Discrete(3, start=-4)
    assert learner_space(space) == Discrete(3)
    np.testing.assert_array_equal(environment_action(space, xp.asarray([0, 1, 2]), xp), [-4, -3, -2])
    several = MultiDiscrete([2, 3], start=[0, 10])
    assert learner_space(several) == MultiDiscrete([2, 3])
    np.testing.assert_array_equal(environment_action(several, xp.asarray([[0, 0], [1, 2]]), xp), [[0, 10], [1, 12]])
    plain = xp.asarray([0, 1])
    assert environment_action(Discrete(2), plain, xp) is plain


@pytest.mark.parametrize("space", [MultiBinary(2), Dict(), Box(0, 5, (2,), np.int32), MultiDiscrete([[2, 2]]), Text(3)])
def test_other_action_spaces_are_refused(space):
    with pytest.raises(OperantError, match="not served"):
        learner_space(space)


SPACES = [
    Box(-1.0, 1.0, (2, 3)),
    Box(np.float32([-np.inf, 0, -1.5]), np.float32([np.inf, np.inf, 0.1])),
    Box(-np.inf, np.inf, ()),
    Box(-0.1, 0.3, (2,), np.float64),
    Box(0, 255, (4, 4, 1), np.uint8),
    Box(-(2**31), 2**31 - 1, (2,), np.int32),
    Box(-(2**62), 2**62 + 1, (1,), np.int64),
    Box(0, 1, (3,), np.bool_),
    Discrete(4),
    Discrete(4, start=-3),
    Discrete(4, dtype=np.int32),
    MultiDiscrete([3, 2], start=[1, -1]),
    MultiDiscrete([[3, 2], [1, 5]], dtype=np.int32),
    MultiBinary(4),
    MultiBinary((2, 3)),
    Dict({"b": Box(0, 1), "a": Tuple([Discrete(2), Dict({"x": MultiBinary(1)})])}),
    Tuple([]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_survive_json_exactly(space):
    again = space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False)))
    assert type(again) is type(space) and again == space
    if isinstance(space, Box):
        # Its own equality allows for rounding.
        np.testing.assert_array_equal(again.low, space.low)
        np.testing.assert_array_equal(again.high, space.high)


def test_unserved_spaces_are_not_written():
    with pytest.raises(OperantError, match="Graph"):
        space_to_json(Dict({"a": Graph(Box(0, 1), None)}))


BOX = space_to_json(Box(-1.0, 1.0, (2,)))["box"]
HOSTILE = [
    *(None, [], {}, 3, "box", {"box": 3}, {"box": None}, {"cube": {}}, {"box": BOX, "discrete": {"n": 1, "start": 0}}),
    *({"box": BOX | change} for change in (
        {"dtype": "object"}, {"dtype": "O"}, {"dtype": "U5"}, {"dtype": "V8"}, {"dtype": None}, {"dtype": "complex64"},
        {"dtype": "datetime64"}, {"shape": [3]}, {"shape": [-1, 5]}, {"shape": "ab"}, {"shape": [2**70]}, {"low": [0]},
        {"low": [2.0, 2.0]}, {"low": ["a", "b"]}, {"low": [[1], [1, 2]]}, {"low": 5}, {"dtype": "uint8"},
        {"dtype": "float32, float32"}, {"low": [float("nan")] * 2},
    )),
    *({"discrete": value} for value in ({"n": 0, "start": 0}, {"n": -1, "start": 0}, {"n": 10**30, "start": 0},
        {"n": 2}, {"n": float("inf"), "start": 0}, {"n": 2, "start": 0, "dtype": "float32"},
        {"n": 2, "start": 0, "dtype": "O"})),
    *({"multi_discrete": value} for value in ({"nvec": [], "start": [1]}, {"nvec": [-1], "start": [0]},
        {"nvec": [2], "start": [0, 1]}, {"nvec": "ab", "start": 0}, {"nvec": [10**30], "start": [0]})),
    *({"multi_binary": value} for value in ({"n": [-1]}, {"n": "x"}, {"n": [0]}, {"n": None}, {"n": -2})),
    *({"dict": value} for value in (3, [1], {"a": None}, {"a": {"box": 1}})),
    *({"tuple": value} for value in (3, None, [3], {"a": 1})),
]  # fmt: skip


@pytest.mark.parametrize("told", HOSTILE, ids=lambda told: json.dumps(told)[:40])
def test_damaged_spaces_are_refused(told):
    with pytest.raises(OperantError, match="a stored space cannot be read"):
        space_from_json(told)


def test_deeply_nested_spaces_are_refused():
    for kind in ("tuple", "dict"):
        told = {"discrete": {"n": 2, "start": 0}}
        for _ in range(5000):
            told = {"tuple": [told]} if kind == "tuple" else {"dict": {"a": told}}
        with pytest.raises(OperantError):
            space_from_json(told)


KINDS = ["box", "discrete", "multi_discrete", "multi_binary", "dict", "tuple"]
FIELDS = ["n", "start", "nvec", "low", "high", "shape", "dtype"]
words = st.text(max_size=4) | st.sampled_from(["int64", "float32"])
junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KINDS + FIELDS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SPACES), st.sampled_from(FIELDS), junk)
@example(Box(-1, 1, (2, 3)), "low", [3.4028235677973366e38])  # beyond the largest float32
@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's, of boxes whose precision is lowered
def test_fuzzed_spaces_raise_only_operant_errors(space, name, junk):
    ((kind, value),) = space_to_json(space).items()
    damaged = {kind: {**value, name: junk}} if isinstance(value, dict) else {kind: junk}
    for told in (damaged, junk):
        try:
            space_to_json(space_from_json(told))
        except OperantError as error:
            assert str(error)


def test_structure_of_observations_is_checked():
    space = Dict({"a": Box(0, 1), "b": Tuple([Discrete(2), Discrete(3)])})
    given = {"b": [1, 2], "a": 0.5}
    assert map_leaves(space, lambda part, leaf: (type(part).__name__, leaf), given) == {
        "a": ("Box", 0.5),
        "b": (("Discrete", 1), ("Discrete", 2)),
    }
    for wrong in ({"a": 0.5}, {**given, "c": 1}, [1, 2], None, {"a": 0.5, "b": (1,)}, {"a": 0.5, "b": 3}):
        with pytest.raises(OperantError, match="its space says"):
            map_leaves(space, lambda part, leaf: leaf, wrong)
