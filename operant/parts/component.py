"""Dataclasses that JAX can trace: what may change without recompiling is data, everything else is structure.

An algorithm is a frozen dataclass registered as a pytree. Its *data* fields are the leaves: they may be
vmapped over, mutated by a population, or annealed, and changing them never recompiles. Its *structure* fields
sit in the tree definition: they are hashable, compared by value, and changing one compiles a new program.

The rule, read off the annotation once, when the class is made:

- `float`, `float | None`, `Scalar` and other components (recursively) are data;
- an integer is data where it is written `data(4)`;
- everything else (`int`, `str`, `bool`, tuples, recipes) is structure.
"""

import dataclasses
import types
import typing
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

T = TypeVar("T")
_COMPONENTS: set[type] = set()


def data(default: int) -> Any:
    """A dataclass field holding an integer that is data: `num_quantiles: int = data(8)`."""
    return dataclasses.field(default=default, metadata={"data": True})


def is_component(value: Any) -> bool:
    """Whether `value` (an object or a class) was made with `component`."""
    return (value if isinstance(value, type) else type(value)) in _COMPONENTS


def _is_data(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_data(choice) for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _is_data(typing.get_args(annotation)[0])
    return annotation in (float, jax.Array) or annotation in _COMPONENTS


@dataclass_transform(frozen_default=True)
def component(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree, split into data and structure by the rule above."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    _COMPONENTS.add(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.metadata.get("data") or _is_data(hints[f.name])]
    rest = [f.name for f in fields if f.name not in leaves]

    def flatten_with_keys(self: T):
        children = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in leaves]
        return children, tuple(getattr(self, name) for name in rest)

    def flatten(self: T):
        return [getattr(self, name) for name in leaves], tuple(getattr(self, name) for name in rest)

    def unflatten(structure: tuple, children: Any) -> T:
        # Bypasses __init__: while tracing, leaves are tracers or placeholders that no validation understands.
        self = object.__new__(cls)
        for name, value in (*zip(leaves, children, strict=True), *zip(rest, structure, strict=True)):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def strong(tree: T) -> T:
    """`tree` with every data leaf a strongly typed float32 (or int32) array, as the drivers pass it to JAX."""

    def convert(leaf: Any) -> jax.Array:
        array = jnp.asarray(leaf)
        kind = jnp.int32 if jnp.issubdtype(array.dtype, jnp.integer) else jnp.float32
        return jnp.asarray(array, dtype=kind)

    return jax.tree.map(convert, tree)
