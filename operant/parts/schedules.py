"""Schedules: values that depend on the progress of training, in [0, 1]. A `Scalar` is a number or a schedule.

A schedule is any component with a method `at`: those below, which have a text form, and users' own.
"""

import math
import re
from typing import Protocol, TypeAlias, cast, runtime_checkable

import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError
from operant.parts.component import check_positive, component, is_component, shape


@shape("a schedule (a component with at)")
@runtime_checkable
class Schedule(Protocol):
    """A value that follows the progress of training."""

    def at(self, progress: Array | float) -> Array:
        """The value at `progress`, in [0, 1]; a scalar array, computed by JAX."""
        ...


Scalar: TypeAlias = float | Schedule


@component
class Linear:
    """From `start` to `end` in a straight line over the first `over` of training, then `end`."""

    start: float
    end: float = 0.0
    over: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "over")

    def at(self, progress: Array | float) -> Array:
        return self.start + (self.end - self.start) * jnp.clip(progress / self.over, 0.0, 1.0)


@component
class Cosine:
    """From `start` to `end` along half a cosine over the first `over` of training, then `end`."""

    start: float
    end: float = 0.0
    over: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "over")

    def at(self, progress: Array | float) -> Array:
        share = jnp.clip(progress / self.over, 0.0, 1.0)
        return self.end + (self.start - self.end) * 0.5 * (1.0 + jnp.cos(jnp.pi * share))


@component
class Exponential:
    """From `start` to `end` (both positive) by a constant factor over the first `over` of training, then `end`."""

    start: float
    end: float
    over: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "start", "end", "over")

    def at(self, progress: Array | float) -> Array:
        return self.start * (self.end / self.start) ** jnp.clip(progress / self.over, 0.0, 1.0)


_KINDS = {"linear": Linear, "cosine": Cosine, "exponential": Exponential}


def at(scalar: Scalar | Array, progress: Array | float) -> Array:
    """The value of a `Scalar` at `progress`; a plain number is its own constant schedule."""
    # Not by the shape: JAX's arrays have an attribute `at` too.
    return cast(Schedule, scalar).at(progress) if is_component(scalar) else jnp.asarray(scalar, jnp.float32)


def parse_scalar(text: str) -> Scalar:
    """Read `1e-3`, `linear(1e-3,0)`, `cosine(1,0.1,over=0.5)`. Raises `OperantError` on anything else."""
    try:
        return _number(text)
    except ValueError:
        pass
    match = re.fullmatch(r"\s*(linear|cosine|exponential)\s*\(([^()]*)\)\s*", text)
    if match:
        positional, named = [], {}
        for part in match[2].split(","):
            name, equals, value = part.rpartition("=")
            try:
                if equals:
                    named[name.strip()] = _number(value)
                else:
                    positional.append(_number(value))
            except ValueError:
                break
        else:
            try:
                return _KINDS[match[1]](*positional, **named)
            except TypeError:
                pass
    raise OperantError(f"{text!r} is not a number or a schedule such as linear(1e-3,0) or linear(1,0.05,over=0.5)")


def _number(text: str) -> float:
    number = float(text)
    if math.isnan(number):
        raise ValueError("not a number")
    return number


def format_scalar(scalar: Scalar) -> str:
    """The text that `parse_scalar` reads back; of a user's own schedule, which has none, its name."""
    if is_component(scalar) and type(scalar) not in _KINDS.values():
        return type(scalar).__name__
    if isinstance(scalar, Linear | Cosine | Exponential):
        name = type(scalar).__name__.lower()
        return f"{name}({float(scalar.start)!r},{float(scalar.end)!r},over={float(scalar.over)!r})"
    return repr(float(cast(float, scalar)))
