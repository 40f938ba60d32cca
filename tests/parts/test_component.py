"""Components: what is data and what is structure, and that only structure recompiles."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.errors import OperantError
from operant.parts.component import component, data, is_component, strong
from operant.parts.schedules import Linear, Scalar, at


@component
class Inner:
    weight: float = 2.0
    size: int = 3


@component
class Outer:
    rate: Scalar = 0.1
    limit: float | None = None
    inner: Inner = Inner()
    samples: int = data(8)
    count: int = 4
    name: str = "x"
    flag: bool = True
    shape: tuple[int, ...] = (1, 2)


def test_data_and_structure_are_split_by_the_annotation():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Outer(limit=5.0))]
    assert paths == [".rate", ".limit", ".inner.weight", ".samples"]
    assert jax.tree.leaves(Outer(limit=5.0)) == [0.1, 5.0, 2.0, 8]
    assert jax.tree.leaves(Outer()) == [0.1, 2.0, 8]  # None is no leaf
    assert jax.tree.leaves(Outer(rate=Linear(1.0, 0.5)))[:3] == [1.0, 0.5, 1.0]
    assert is_component(Outer) and is_component(Inner()) and not is_component(3.0) and not is_component(dict)


def test_fields_and_their_split_are_inherited():
    @component
    class Heir(Outer):
        count: float = 5.0  # structure above
        own: float = 1.5

    heir = Heir(0.2, name="y")
    assert (heir.rate, heir.name, heir.count, heir.own) == (0.2, "y", 5.0, 1.5)
    assert jax.tree.leaves(heir) == [0.2, 2.0, 8, 5.0, 1.5] and jax.tree.leaves(Outer(0.2)) == [0.2, 2.0, 8]
    assert jax.tree.map(lambda leaf: leaf, heir) == heir != dataclasses.replace(heir, own=2.0)
    with pytest.raises(OperantError, match=r"argument of .*Heir"):
        Heir(nmae="x")


def test_structure_is_compared_by_value():
    structure, same, other_data = map(jax.tree.structure, (Outer(), Outer(), Outer(rate=9.0, samples=1)))
    assert structure == same == other_data
    assert hash(structure) == hash(other_data)
    assert Outer() == Outer() and hash(Outer()) == hash(Outer()) and Outer() != Outer(rate=0.2)
    changed = [Outer(count=5), Outer(name="y"), Outer(flag=False), Outer(shape=(1,)), Outer(inner=Inner(size=4))]
    changed += [Outer(limit=1.0), Outer(rate=Linear(0.1))]
    for outer in changed:
        assert jax.tree.structure(outer) != structure, outer


def test_only_structure_retraces():
    traced = []

    @jax.jit
    def total(outer):
        traced.append(outer.count)
        return at(outer.rate, 0.0) * outer.count + outer.inner.weight + outer.samples

    changed = (1, 2, 3), (0.5, 4.0, 5)
    values = [total(strong(Outer(rate=rate, inner=Inner(weight), samples=n))) for rate, weight, n in changed]
    np.testing.assert_allclose(values, [4 + 2 + 3, 2 + 4 + 5])
    assert traced == [4]
    assert total(strong(Outer(rate=1.0, count=5, samples=0))) == 5 + 2
    assert traced == [4, 5]


def test_vmap_over_one_field():
    axes = jax.tree.map(lambda _: None, Outer())
    object.__setattr__(axes, "rate", 0)
    outer = strong(Outer())
    object.__setattr__(outer, "rate", jnp.arange(3.0))
    result = jax.vmap(lambda o: o.rate * o.inner.weight, in_axes=(axes,))(outer)
    np.testing.assert_array_equal(result, [0.0, 2.0, 4.0])


def test_unflattening_bypasses_init():
    checked = []

    @component
    class Strict:
        value: float = 1.0

        def __post_init__(self) -> None:
            checked.append(self.value)
            if not self.value > 0:
                raise ValueError("must be positive")

    with pytest.raises(ValueError):
        Strict(-1.0)
    strict = jax.tree.map(lambda leaf: -leaf, Strict())
    assert type(strict) is Strict and strict.value == -1.0 and checked == [-1.0, 1.0]
    placeholder = object()
    assert jax.tree.unflatten(jax.tree.structure(Strict()), [placeholder]).value is placeholder


def test_strong_data_have_the_dtype_of_their_field():
    weak = jnp.asarray(2.0)
    assert weak.weak_type
    given = Outer(rate=Linear(1, 0), limit=3, inner=Inner(weak), samples=np.int64(7))
    outer = strong(given)
    *floats, whole = jax.tree.leaves(outer)
    # A whole number in a float field is a float, or changing 1 to 0.99 would compile a new program.
    assert [leaf.dtype for leaf in floats] == [jnp.float32] * 5 and whole.dtype == jnp.int32
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(outer))
    assert [float(leaf) for leaf in jax.tree.leaves(outer)] == [1, 0, 1, 3, 2, 7]
    assert strong(Outer()).limit is None
    assert jax.tree.structure(outer) == jax.tree.structure(strong(outer)) == jax.tree.structure(given)
