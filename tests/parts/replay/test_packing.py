"""Packing: a bit-exact round trip of every dtype, from layouts of arrays or of their shapes alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.errors import OperantError
from operant.parts.replay.packing import Packing, gather


class Pair(NamedTuple):
    pixels: jax.Array
    rest: dict


def example(*batch):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, size=(*batch, 3), dtype=np.uint32)
    return Pair(
        pixels=jnp.asarray(rng.integers(0, 256, (*batch, 4, 2, 3)), jnp.uint8),
        rest={
            "done": jnp.asarray(rng.integers(0, 2, batch), bool),
            "reward": jnp.asarray(rng.normal(size=batch), jnp.float32),
            "any bits": jnp.asarray(bits.view(np.float32)),  # NaN payloads, infinities, subnormals
            "half": jnp.asarray(rng.normal(size=(*batch, 2)), jnp.bfloat16),
            "action": jnp.asarray(rng.integers(-(2**31), 2**31, (*batch, 1, 2)), jnp.int32),
            "mask": jnp.asarray(rng.integers(0, 2, (*batch, 5)), bool),
            "empty": jnp.zeros((*batch, 0), jnp.int8),
            "nothing": None,
        },
    )


def same_bits(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("batch", [(), (6,), (3, 2), (0,)])
def test_round_trip_is_bit_exact_for_any_number_of_batch_axes(batch):
    tree = example(*batch)
    packing = Packing.of(tree, batch_ndim=len(batch))
    packed = packing.pack(tree)
    widths = {"uint8": 24 + 1 + 5, "float32": 4, "bfloat16": 2, "int32": 2, "int8": 0}
    assert {group: (*a.shape, str(a.dtype)) for group, a in packed.items()} == {
        group: (*batch, width, group) for group, width in widths.items()
    }
    assert packing.widths == widths
    same_bits(packing.unpack(packed), tree)


def test_layout_from_shapes_equals_layout_from_arrays_and_is_static():
    packing = Packing.of(jax.eval_shape(lambda: example(6)))
    assert packing == Packing.of(example(9)) == Packing.of(example(), batch_ndim=0)
    assert hash(packing) == hash(Packing.of(example(9)))
    assert jax.tree.leaves(packing) == []
    assert packing != Packing.of({"done": jnp.zeros(6, bool)})


def test_gathered_rows_are_the_tree_indexed_leaf_by_leaf():
    tree, index = example(11), jnp.array([[3, 3, 10], [0, 7, 1]])
    packing = Packing.of(tree)
    rows = jax.jit(lambda tree: packing.unpack(gather(packing.pack(tree), index)))(tree)
    same_bits(rows, jax.tree.map(lambda leaf: leaf[index], tree))


def test_what_does_not_fit_is_refused():
    packing = Packing.of({"a": jnp.zeros((4, 2)), "b": jnp.zeros(4, bool)})
    with pytest.raises(OperantError, match="fit"):
        packing.pack({"a": jnp.zeros((4, 3)), "b": jnp.zeros(4, bool)})
    with pytest.raises(OperantError, match="fit"):
        packing.pack({"a": jnp.zeros((4, 2)), "b": jnp.zeros(4, jnp.uint8)})
    with pytest.raises(OperantError, match="fit"):
        packing.pack({"a": jnp.zeros((4, 2))})
    with pytest.raises(OperantError, match="disagree"):
        packing.pack({"a": jnp.zeros((4, 2)), "b": jnp.zeros(5, bool)})
    with pytest.raises(OperantError, match="batch axes"):
        Packing.of({"a": jnp.zeros(())})
    with pytest.raises(OperantError, match="key_data"):
        Packing.of({"key": jax.random.split(jax.random.key(0), 4)})
