"""Algorithms and their parts as plain JSON and back. Only known names are built: nothing in a file is imported."""

import dataclasses
import typing
from typing import Any

import jax
import numpy as np

from operant.errors import CheckpointError
from operant.parts import exploration, networks, optimisers, replay, schedules

_PARTS: tuple[type, ...] = (
    *(schedules.Linear, schedules.Cosine, schedules.Exponential),
    *(exploration.Greedy, exploration.EpsilonGreedy, exploration.Boltzmann),
    *(networks.MLP, networks.MinAtarCNN, networks.NatureCNN, networks.GRU),
    *(optimisers.Adam, optimisers.RMSProp, optimisers.SGD),
    replay.Uniform,
)
PARTS = {part.__name__: part for part in _PARTS}


def describe(value: Any) -> Any:
    """`value` (a dataclass, a number, a tuple ...) as plain JSON; an unknown object becomes its name, marked."""
    if isinstance(value, float | int | str | bool | None):
        return value
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        return np.asarray(value).item()
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if dataclasses.is_dataclass(value) and type(value).__name__ in PARTS:
        return {"type": type(value).__name__, **fields_of(value)}
    named = value if hasattr(value, "__qualname__") else type(value)
    return {"external": f"{named.__module__}.{named.__qualname__}"}


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, described."""
    return {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}


def build(cls: type, fields: dict[str, Any], where: str) -> Any:
    """An object of `cls` from its described fields; fields left out keep their defaults.

    Raises `CheckpointError`, naming `where`, for an unknown field or part, and for an external one, which only the
    caller can supply.
    """
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}
    values = {}
    for name, described in fields.items():
        if name not in known:
            raise CheckpointError(f"{where}: {cls.__name__} has no field {name!r}")
        values[name] = _undescribe(described, f"{where}: {name}")
        _fits(values[name], known[name], typing.get_type_hints(cls)[name], f"{where}: {name}")
    return cls(**values)


def _undescribe(described: Any, where: str) -> Any:
    if isinstance(described, list):
        return tuple(_undescribe(item, where) for item in described)
    if not isinstance(described, dict):
        return described
    if "external" in described:
        raise CheckpointError(f"{where} is your own {described['external']}: pass the algorithm object when loading")
    part = PARTS.get(described["type"]) if isinstance(described.get("type"), str) else None
    if part is None:
        raise CheckpointError(f"{where}: unknown part {str(described.get('type'))[:40]!r}")
    return build(part, {name: value for name, value in described.items() if name != "type"}, where)


def _fits(value: Any, field: Any, hint: Any, where: str) -> None:
    """Refuse a value whose plain type is not the default's, for the types that JSON can confuse."""
    if dataclasses.is_dataclass(value) or field.default is dataclasses.MISSING:
        return
    wanted: tuple[type, ...] = {
        bool: (bool,), int: (int,), float: (float, int), str: (str,), tuple: (tuple,), type(None): (float, int, type(None))
    }.get(type(field.default), (float, int))
    optional = value is None and type(None) in typing.get_args(hint)
    number_for_flag = isinstance(value, bool) and bool not in wanted
    if not optional and (not isinstance(value, wanted) or number_for_flag):
        raise CheckpointError(f"{where}: {value!r} is not of type {wanted[0].__name__}")
