"""Algorithms and their parts as plain JSON and back. Only known names are built: nothing in a file is imported."""

import collections.abc
import dataclasses
import math
import types
import typing
from typing import Any

import jax
import numpy as np

from operant.errors import CheckpointError
from operant.parts import exploration, optimisers, schedules
from operant.parts.networks import critics, layer_norm, recipes, spreads, value_networks
from operant.parts.policies import penalties
from operant.parts.replay import frames, prioritised, storage, uniform
from operant.parts.tabular import rates, tables, tiles
from operant.parts.values import bootstraps

# Those of a family may stand where another of it stands.
FAMILIES: tuple[tuple[type, ...], ...] = (
    (schedules.Linear, schedules.Cosine, schedules.Exponential),
    (exploration.Random, exploration.Greedy, exploration.EpsilonGreedy, exploration.Boltzmann, exploration.UCB),
    (
        *(recipes.MLP, recipes.MinAtarCNN, recipes.NatureCNN, recipes.GRU),
        *(value_networks.Dueling, value_networks.Noisy, layer_norm.LayerNorm),
    ),
    (optimisers.Adam, optimisers.RAdam, optimisers.RMSProp, optimisers.SGD),
    (uniform.Uniform, prioritised.Prioritised),
    (storage.Whole, frames.Frames),
    (bootstraps.Max, bootstraps.Double, bootstraps.Munchausen),
    (critics.Separate, critics.Shared),
    (penalties.AdaptiveKL,),
    (spreads.Independent, spreads.StateDependent),
    (rates.Visits,),
    (tables.TablePolicy,),
    (tiles.Tiles,),
)
PARTS = {part.__name__: part for family in FAMILIES for part in family}


def describe(value: Any) -> Any:
    """`value` (a dataclass, a number, a tuple ...) as plain JSON; an unknown object becomes its name, marked."""
    if isinstance(value, float | int | str | bool | None):
        return value
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        return np.asarray(value).item()
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if PARTS.get(type(value).__name__) is type(value):
        return {"type": type(value).__name__, **fields_of(value)}
    named: Any = value if hasattr(value, "__qualname__") else type(value)
    return {"external": f"{named.__module__}.{named.__qualname__}"}


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, described."""
    return {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}


def build(cls: type, fields: Any, where: str) -> Any:
    """An object of `cls` from its described fields; fields left out keep their defaults.

    Raises `OperantError`, naming `where`, for anything that does not fit: an unknown field or part, a value of
    another type than the field's, and an external part, which only the caller can supply.
    """
    try:
        return _build(cls, fields, where)
    except RecursionError as error:
        raise CheckpointError(f"{where}: nested too deeply") from error


def _build(cls: type, fields: Any, where: str) -> Any:
    if not isinstance(fields, dict):
        raise CheckpointError(f"{where}: the fields of {cls.__name__} are not an object")
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints, values = typing.get_type_hints(cls), {}
    for name, described in fields.items():
        if name not in known:
            raise CheckpointError(f"{where}: {cls.__name__} has no field {str(name)[:40]!r}")
        values[name] = undescribe(described, f"{where}: {name}")
        if not _fits(values[name], hints[name]):
            shown, wanted = str(values[name])[:40], getattr(hints[name], "__name__", str(hints[name]))
            raise CheckpointError(f"{where}: {name}: {shown!r} is not of type {wanted}")
    missing = [name for name, field in known.items() if name not in values and field.default is dataclasses.MISSING]
    if missing:
        raise CheckpointError(f"{where}: {cls.__name__} lacks its field {missing[0]!r}")
    return cls(**values)


def undescribe(described: Any, where: str) -> Any:
    """The inverse of `describe`, but for lists, which become tuples; raises as `build` does."""
    if isinstance(described, list):
        return tuple(undescribe(item, where) for item in described)
    if not isinstance(described, dict):
        return described
    if "external" in described:
        name = str(described["external"])[:80]
        raise CheckpointError(f"{where} is your own {name}: pass the algorithm object when loading")
    part = PARTS.get(described["type"]) if isinstance(described.get("type"), str) else None
    if part is None:
        raise CheckpointError(f"{where}: unknown part {str(described.get('type'))[:40]!r}")
    return _build(part, {name: value for name, value in described.items() if name != "type"}, where)


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` may stand in a field annotated `hint`. JSON's true is no number here, and NaN is none either."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in choices)
    if origin is typing.Annotated:
        return _fits(value, choices[0])
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in choices)
    if origin is tuple:
        each = [choices[0]] * len(value) if isinstance(value, tuple) and choices[1:] == (...,) else choices
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_fits, value, each))
    if origin is collections.abc.Callable:
        return callable(value)
    if hint is float:
        return (type(value) is float and not math.isnan(value)) or (type(value) is int and abs(value) < 2**1023)
    return type(value) is hint if hint in (bool, int, str) else isinstance(value, hint)
