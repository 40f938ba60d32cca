"""Spaces at the edge: gymnax's become Gymnasium's, and actions in the learner's units become the environment's."""

import math
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from operant.errors import OperantError
from operant.parts.encoders import canonical_dtype, example, is_bounded

LARGEST = 2**28  # entries of a stored space, at most


def gymnasium_space(space: Any) -> gymnasium.Space:
    """The Gymnasium twin of a gymnax space (Discrete, Box, Dict, Tuple); Gymnasium's own pass through."""
    if isinstance(space, gymnasium.Space):
        return space
    kind = type(space).__name__
    if kind == "Discrete":
        return Discrete(int(space.n))
    if kind == "Box":
        dtype = canonical_dtype(space.dtype)
        low, high = (np.broadcast_to(np.asarray(bound, dtype), space.shape) for bound in (space.low, space.high))
        return Box(low, high, space.shape, dtype.type)
    if kind == "Dict":
        return Dict({name: gymnasium_space(part) for name, part in space.spaces.items()})
    if kind == "Tuple":
        return Tuple([gymnasium_space(part) for part in space.spaces])
    raise OperantError(f"spaces of {kind} are not served: use Box, Discrete, MultiDiscrete, Dict or Tuple")


def learner_space(space: gymnasium.Space) -> gymnasium.Space:
    """The action space as algorithms see it: bounded Box is `Box(-1, 1)`, discrete actions start at 0."""
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return Box(-1.0, 1.0, space.shape, np.float32) if is_bounded(space) else space
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return MultiDiscrete(space.nvec)
    raise OperantError(f"actions of {space} are not served: use Discrete, a flat MultiDiscrete or a floating Box")


def environment_action(space: Any, action: Any, xp: Any = np) -> Any:
    """A learner's action `[..., *shape]` in the units of the environment's own `space`.

    Bounded Box actions are clipped to [-1, 1] and stretched over the bounds, others are clipped to the bounds they
    have; discrete ones are shifted to their start. `xp` is the array module of `action` (NumPy or jax.numpy).
    """
    if isinstance(space, Box):
        dtype = space.dtype if xp is np else canonical_dtype(space.dtype)
        low, high = (np.broadcast_to(bound, action.shape).astype(dtype) for bound in (space.low, space.high))
        if is_bounded(space):
            action = low + (xp.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
        # The sum may round past a bound.
        return xp.clip(action.astype(dtype), low, high)
    if not np.any(space.start):
        return action
    return action + np.broadcast_to(np.asarray(space.start, np.int32), action.shape)


def layout(tree: Any) -> str:
    """The dtype and shape of every array of a tree, in words."""
    told = lambda leaf: f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__  # noqa: E731
    return str(jax.tree.map(told, tree, is_leaf=lambda node: isinstance(node, list))).replace("'", "")


def in_words(space: gymnasium.Space) -> str:
    """What of a space a learner depends on; bounds and wide dtypes may be written otherwise."""
    if isinstance(space, Discrete):
        return f"{space.n} numbers from {space.start}"
    if isinstance(space, MultiDiscrete):
        return f"{space.nvec.tolist()} numbers from {space.start.tolist()}"
    return layout(example(space))


def space_to_json(space: gymnasium.Space) -> dict[str, Any]:
    """A space in plain JSON, for a run's description; infinite bounds are written as null."""
    if isinstance(space, Box):
        ends = (space.low.ravel(), space.high.ravel())
        low, high = ([x.item() if np.isfinite(x) else None for x in bound] for bound in ends)
        return {"box": {"low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}}
    if isinstance(space, Discrete):
        return {"discrete": {"n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}}
    if isinstance(space, MultiDiscrete):
        sizes = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"multi_discrete": {**sizes, "dtype": str(space.dtype)}}
    if isinstance(space, MultiBinary):
        return {"multi_binary": {"n": space.n if isinstance(space.n, int) else list(space.shape)}}
    if isinstance(space, Dict):
        return {"dict": {name: space_to_json(part) for name, part in space.spaces.items()}}
    if isinstance(space, Tuple):
        return {"tuple": [space_to_json(part) for part in space.spaces]}
    raise OperantError(f"spaces of {type(space).__name__} are not served")


def space_from_json(told: Any) -> gymnasium.Space:
    """The inverse of `space_to_json`. Raises `OperantError` on anything else."""
    try:
        ((kind, value),) = told.items()
        if kind == "box":
            dtype = np.dtype(str(value["dtype"]))
            if dtype.kind not in "fiub":
                raise ValueError(f"dtype {dtype}")
            unbounded = (-np.inf, np.inf)
            with np.errstate(over="raise"):  # a bound that the dtype cannot hold
                low, high = (
                    np.array([bound if x is None else x for x in value[end]], dtype).reshape(value["shape"])
                    for end, bound in zip(("low", "high"), unbounded, strict=True)
                )
            return Box(low, high, dtype=dtype.type)
        if kind == "discrete":
            return Discrete(int(value["n"]), start=int(value["start"]), dtype=_integer_dtype(value))
        if kind == "multi_discrete":
            sizes, starts = (np.array(value[name], np.int64) for name in ("nvec", "start"))
            return MultiDiscrete(sizes, _integer_dtype(value), start=starts)
        if kind == "multi_binary":
            sizes = [value["n"]] if isinstance(value["n"], int) else [int(n) for n in value["n"]]
            if math.prod(sizes) > LARGEST:  # a few bytes of a file that would ask for all memory
                raise ValueError(f"{math.prod(sizes)} numbers")
            return MultiBinary(value["n"] if isinstance(value["n"], int) else sizes)
        if kind == "dict":
            return Dict({str(name): space_from_json(part) for name, part in value.items()})
        if kind == "tuple":
            return Tuple([space_from_json(part) for part in value])
        raise ValueError(f"unknown kind {kind!r}")
    except (ArithmeticError, AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise OperantError(f"a stored space cannot be read: {str(error)[:80]}") from error


def _integer_dtype(value: dict[str, Any]) -> Any:
    dtype = np.dtype(str(value.get("dtype", "int64")))
    if dtype.kind not in "iu":
        raise ValueError(f"dtype {dtype}")
    return dtype.type
