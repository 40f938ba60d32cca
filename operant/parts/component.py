"""Dataclasses that JAX can trace: what may change without recompiling is data, everything else is structure.

An algorithm is a frozen dataclass registered as a pytree. Its *data* fields are the leaves: they may be
vmapped over, mutated by a population, or annealed, and changing them never recompiles. Its *structure* fields
sit in the tree definition: they are hashable, compared by value, and changing one compiles a new program.

The rule, read off the annotation once, when the class is made:

- `float`, `float | None`, `Scalar` and other components (recursively) are data, and so is a field that is annotated
  with a shape of components (a protocol, such as `Schedule`), whoever made the component in it;
- an integer is data where it is written `data(4)`;
- everything else (`int`, `str`, `bool`, tuples, recipes) is structure.
"""

import dataclasses
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from operant.errors import OperantError
from operant.words import answers_words

T = TypeVar("T")
_COMPONENTS: dict[type, dict[str, Any]] = {}  # of each, the dtype of its data fields
_SHAPES: dict[type, str] = {}  # protocols that components may fit, and how people call one that does


def data(default: int) -> Any:
    """A dataclass field holding an integer that is data: `num_quantiles: int = data(8)`."""
    return dataclasses.field(default=default, metadata={"data": True})


def shape(called: str) -> Callable[[type[T]], type[T]]:
    """Make a protocol (`runtime_checkable`) the shape of components, users' own too; errors call one `called`."""

    def register(protocol: type[T]) -> type[T]:
        _SHAPES[protocol] = called
        return protocol

    return register


def is_component(value: Any) -> bool:
    """Whether `value` (an object or a class) was made with `component`."""
    return (value if isinstance(value, type) else type(value)) in _COMPONENTS


def data_fields(cls: type) -> frozenset[str]:
    """The names of a component's fields that are data."""
    return frozenset(_COMPONENTS[cls])


def _is_data(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_data(choice) for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _is_data(typing.get_args(annotation)[0])
    return annotation in (float, jax.Array) or annotation in _COMPONENTS or annotation in _SHAPES


@dataclass_transform(frozen_default=True)
def component(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree, split into data and structure by the rule above."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    cls.__init__ = answers_words(cls.__init__)  # type: ignore[method-assign]
    _COMPONENTS[cls] = {}
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.metadata.get("data") or _is_data(hints[f.name])]
    rest = [f.name for f in fields if f.name not in leaves]
    marked = {f.name for f in fields if f.metadata.get("data")}
    _COMPONENTS[cls] = {name: jnp.int32 if name in marked else jnp.float32 for name in leaves}

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
    """`tree`, a component, with its data strongly typed arrays, as the drivers pass it to JAX.

    The dtype is the field's, not the value's: float32 even where a float is written `1`, int32 where it is `data`.
    """
    fields = _COMPONENTS[type(tree)]
    typed = object.__new__(type(tree))
    for field in (field for field in dataclasses.fields(tree) if field.init):  # type: ignore[arg-type]
        value = getattr(tree, field.name)
        if is_component(value):
            value = strong(value)
        elif field.name in fields:
            value = jax.tree.map(lambda leaf, kind=fields[field.name]: jnp.asarray(leaf, kind), value)
        object.__setattr__(typed, field.name, value)
    return typed


def check_fields(value: Any) -> None:
    """Raise `OperantError`, naming the field, where a field of a component is not of the type it is declared as.

    Numbers must be finite; whole numbers are not rounded from fractions; truth values are not numbers. A component that
    has a method `check_ranges` is asked too.
    """
    hints = typing.get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        given, hint = getattr(value, field.name), hints[field.name]
        choices = typing.get_args(hint) or (hint,)
        open_field = any(each in choices for each in _SHAPES)
        if is_component(given) and (not open_field or isinstance(given, tuple(filter(inspect.isclass, choices)))):
            check_fields(given)
        elif _is_data(hint) or hint in (int, bool, str):
            _check_plain(type(value).__name__, field.name, given, hint)
    getattr(value, "check_ranges", lambda: None)()


def _check_plain(owner: str, name: str, given: Any, hint: Any) -> None:
    choices = typing.get_args(hint) or (hint,)
    if given is None and type(None) in choices:
        return
    if hint in (bool, str):
        good, wanted = isinstance(given, hint), "true or false" if hint is bool else "text"
    elif hint is int:
        good, wanted = isinstance(given, numbers.Integral) and not isinstance(given, bool), "a whole number"
    else:
        shapes = [called for each, called in _SHAPES.items() if each in choices]
        words = [*(["a finite number"] if float in choices or not shapes else []), *shapes]
        number = isinstance(given, numbers.Real | jax.Array | np.ndarray) and not isinstance(given, bool)
        good = number and words != shapes and bool(np.isfinite(np.asarray(given)).all())
        wanted = " or ".join(words)
    if not good:
        raise OperantError(f"{owner}'s {name} must be {wanted}, not {given!r}")


def check_range(value: Any, low: float, high: float, *names: str) -> None:
    """Raise `OperantError` where one of the fields called `names` leaves [low, high] in training; None passes."""
    for name in names:
        if not all(low <= number <= high for number in _numbers(getattr(value, name))):
            bounds = f"between {low:g} and {high:g}" if math.isfinite(high) else f"at least {low:g}"
            raise OperantError(f"{type(value).__name__}'s {name} must be {bounds}, not {getattr(value, name)!r}")


def check_positive(value: Any, *names: str) -> None:
    """Raise `OperantError` where one of the fields called `names` is not always above zero in training."""
    for name in names:
        if not all(number > 0 for number in _numbers(getattr(value, name))):
            raise OperantError(f"{type(value).__name__}'s {name} must be positive, not {getattr(value, name)!r}")


def _numbers(given: Any) -> list[float]:
    """The numbers that a field takes in training: a plain one its own, a schedule those along the way."""
    if isinstance(given, float | int):
        return [given]
    if is_component(given) and hasattr(given, "at"):
        return [float(given.at(progress)) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return []
