"""Encoders: every kind of space, by hand-written features, with no, one and two leading axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Text, Tuple

from operant.errors import OperantError
from operant.parts.encoders import canonical_dtype, encode, example, features_shape

LEADS = [(), (3,), (2, 3)]
# Wide, one-sided, constant, of order one, narrow, narrow and far away.
MIXED = Box(
    np.array([-20, 0, -np.inf, 1, -10, -0.07, 99.99], np.float32),
    np.array([60, np.inf, 30, 1, 10, 0.01, 100.01], np.float32),
)
MIXED_RADIUS = (MIXED.high[6].astype(float) - MIXED.low[6]) / 2
IMAGE = Box(0, 255, (4, 5, 3), np.uint8)


def onehot(numbers, size):
    return np.eye(size)[numbers]


def mixed(x):
    # Known bounds that are far from order one: to [-1, 1]. Everything else: as it is.
    scaled = [(x[..., 0] - 20) / 40, *(x[..., i] for i in range(1, 5)), (x[..., 5] + 0.03) / 0.04]
    return np.stack([*scaled, (x[..., 6] - 100) / MIXED_RADIUS], axis=-1)


CASES = {
    "mixed bounds": (MIXED, mixed),
    "bounded matrix": (Box(-4.0, 4.0, (2, 3)), lambda x: x.reshape(*x.shape[:-2], 6)),
    "wide matrix": (Box(-40.0, 40.0, (2, 3)), lambda x: x.reshape(*x.shape[:-2], 6) / 40),
    "scalar": (Box(0.0, 20.0, ()), lambda x: x[..., None] / 10 - 1),
    "unbounded": (Box(-np.inf, np.inf, (4,)), lambda x: x),
    "written as the largest float": (Box(-3.4e38, 3.4e38, (2,)), lambda x: x),
    "written as the lowest integer": (Box(-(2**31), 5, (2,), np.int32), lambda x: x),
    "float64": (Box(-20.0, 20.0, (3,), np.float64), lambda x: x / 20),
    "integer vector": (Box(0, 100, (3,), np.int32), lambda x: x / 50 - 1),
    "signed bytes": (Box(-128, 127, (2,), np.int8), lambda x: (x + 0.5) / 127.5),
    "uint8 image": (IMAGE, lambda x: x / 255),
    "bool image": (Box(0, 1, (2, 2, 1), np.bool_), lambda x: x.astype(float)),
    "stacked frames": (Box(0, 255, (2, 4, 5), np.uint8), lambda x: np.moveaxis(x, -3, -1) / 255),
    "float image": (Box(-1.0, 1.0, (2, 2, 1)), lambda x: (x + 1) / 2),
    "unbounded image": (Box(-np.inf, np.inf, (2, 2, 1)), lambda x: x),
    "discrete": (Discrete(4), lambda x: onehot(x, 4)),
    "discrete with a start": (Discrete(3, start=-5), lambda x: onehot(x + 5, 3)),
    "multi-discrete": (
        MultiDiscrete([2, 3]),
        lambda x: np.concatenate([onehot(x[..., 0], 2), onehot(x[..., 1], 3)], axis=-1),
    ),
    "multi-discrete with a start": (
        MultiDiscrete([2, 3], start=[4, -1]),
        lambda x: np.concatenate([onehot(x[..., 0] - 4, 2), onehot(x[..., 1] + 1, 3)], axis=-1),
    ),
    "multi-discrete matrix": (
        MultiDiscrete([[2, 3], [4, 1]]),
        lambda x: np.concatenate(
            [onehot(x[..., i, j], n) for i, j, n in ((0, 0, 2), (0, 1, 3), (1, 0, 4), (1, 1, 1))], axis=-1
        ),
    ),
    "multi-binary": (MultiBinary(3), lambda x: x.astype(float)),
    "multi-binary matrix": (MultiBinary((2, 2)), lambda x: x.reshape(*x.shape[:-2], 4).astype(float)),
    "tuple": (
        Tuple([Discrete(2), Box(-20.0, 20.0, (1,))]),
        lambda x: np.concatenate([onehot(x[0], 2), x[1] / 20], axis=-1),
    ),
    "image and vector": (
        Dict({"pixels": IMAGE, "goal": Box(-20.0, 20.0, (2,))}),
        lambda x: np.concatenate([x["goal"] / 20, x["pixels"].reshape(*x["pixels"].shape[:-3], 60) / 255], axis=-1),
    ),
    "nested": (
        Dict({"b": Tuple([Dict({"y": MultiBinary(2), "x": Discrete(2)}), Box(0.0, 1.0, (1,))]), "a": Discrete(3)}),
        lambda x: np.concatenate([onehot(x["a"], 3), onehot(x["b"][0]["x"], 2), x["b"][0]["y"], x["b"][1]], axis=-1),
    ),
}


def drawn(space, lead):
    """Samples of `space`, stacked over `lead`, as the library keeps them; integers hit their whole range."""
    if isinstance(space, Box):
        rng = np.random.default_rng(0)
        low, high = np.clip(space.low.astype(float), -9, 300), np.clip(space.high.astype(float), -9, 300)
        x = rng.uniform(low, high + (space.dtype.kind in "iu"), (*lead, *space.shape))
        x = np.floor(x) if space.dtype.kind in "iu" else x > 0.5 if space.dtype.kind == "b" else x
        return jnp.asarray(x, canonical_dtype(space.dtype))
    space.seed(0)
    samples = [space.sample() for _ in range(int(np.prod(lead)))]

    def stack(like, *leaves):
        return jnp.asarray(np.stack(leaves).reshape((*lead, *np.shape(leaves[0]))), like.dtype)

    return jax.tree.map(stack, example(space), *[as_plain(sample) for sample in samples])


def as_plain(sample):
    if isinstance(sample, dict):
        return {name: as_plain(part) for name, part in sample.items()}
    return tuple(map(as_plain, sample)) if isinstance(sample, tuple) else sample


@pytest.mark.parametrize("name", CASES)
def test_features_are_what_the_definition_says(name):
    space, definition = CASES[name]
    for lead in LEADS:
        observation = drawn(space, lead)
        features = encode(space, observation)
        expected = definition(jax.tree.map(np.asarray, observation))
        np.testing.assert_allclose(features, expected, rtol=1e-6, atol=1e-6)
        assert features.dtype == jnp.float32
        assert features.shape == (*lead, *features_shape(space))


def test_only_images_keep_their_axes():
    shapes = {name: features_shape(space) for name, (space, _) in CASES.items()}
    assert shapes["uint8 image"] == (4, 5, 3)
    assert shapes["image and vector"] == (62,) and shapes["bounded matrix"] == (6,)


def test_whole_range_of_bytes():
    image = jnp.arange(60, dtype=jnp.uint8).reshape(4, 5, 3).at[0, 0, 0].set(255)
    features = encode(IMAGE, image)
    ulp = 2.0**-24  # a GPU multiplies by the rounded reciprocal
    assert 1.0 - ulp <= features.max() <= 1.0 and abs(features[0, 0, 1] - 1 / 255) <= ulp / 255


def test_parts_of_a_dict_are_in_the_order_of_its_leaves_whatever_the_order_of_its_keys():
    from collections import OrderedDict

    parts = OrderedDict(z=Box(-1.0, 1.0, (1,)), a=Box(-1.0, 1.0, (1,)))
    features = encode(Dict(parts), {"z": jnp.array([0.75]), "a": jnp.array([0.25])})
    np.testing.assert_array_equal(features, [0.25, 0.75])
    leaves = jax.tree.leaves({"z": 0.75, "a": 0.25})
    np.testing.assert_array_equal(features, leaves)


def test_example_keeps_structure_and_dtype():
    space = Dict({"i": IMAGE, "t": Tuple([Discrete(3), Box(-1, 1, (2,), np.float64)]), "b": MultiBinary(2)})
    found = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), example(space))
    assert found == {"i": ((4, 5, 3), "uint8"), "t": (((), "int32"), ((2,), "float32")), "b": ((2,), "int8")}
    assert [str(canonical_dtype(t)) for t in ("float64", "int64", "uint64", "uint8", "bool", "float16")] == [
        *("float32", "int32", "uint32", "uint8", "bool", "float16")
    ]


@pytest.mark.parametrize("space", [Text(3), Graph(Box(0, 1), None), Dict({"a": Text(2)})])
def test_other_spaces_are_refused(space):
    with pytest.raises(OperantError, match="cannot be encoded"):
        encode(space, {"a": "xy"})
