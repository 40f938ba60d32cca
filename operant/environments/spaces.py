"""Spaces at the edge: gymnax's become Gymnasium's, and actions in the learner's units become the environment's."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from operant.errors import OperantError
from operant.parts.encoders import LARGEST_BOUND, canonical_dtype


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


def _is_bounded(space: Box) -> bool:
    return bool((np.abs(space.low) < LARGEST_BOUND).all() and (np.abs(space.high) < LARGEST_BOUND).all())


def learner_space(space: gymnasium.Space) -> gymnasium.Space:
    """The action space as algorithms see it: bounded Box is `Box(-1, 1)`, discrete actions start at 0."""
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return Box(-1.0, 1.0, space.shape, np.float32) if _is_bounded(space) else space
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return MultiDiscrete(space.nvec)
    raise OperantError(f"actions of {space} are not served: use Discrete, a flat MultiDiscrete or a floating Box")


def environment_action(space: gymnasium.Space, action: Any, xp: Any = np) -> Any:
    """A learner's action `[..., *shape]` in the units of the environment's own `space`.

    Bounded Box actions are clipped to [-1, 1] and stretched over the bounds; discrete ones are shifted to their
    start. `xp` is the array module of `action` (NumPy or jax.numpy).
    """
    if isinstance(space, Box):
        if not _is_bounded(space):
            return action
        low, high = (np.broadcast_to(bound, action.shape) for bound in (space.low, space.high))
        unit = xp.clip(action, -1.0, 1.0)
        return (low + (unit + 1.0) * 0.5 * (high - low)).astype(canonical_dtype(space.dtype))
    start = np.broadcast_to(np.asarray(space.start, np.int32), action.shape)
    return action + start if start.any() else action


def space_to_json(space: gymnasium.Space) -> dict[str, Any]:
    """A space in plain JSON, for a run's description; infinite bounds are written as null."""
    if isinstance(space, Box):
        low, high = ([None if not np.isfinite(x) else x.item() for x in bound.ravel()] for bound in (space.low, space.high))
        return {"box": {"low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}}
    if isinstance(space, Discrete):
        return {"discrete": {"n": int(space.n), "start": int(space.start)}}
    if isinstance(space, MultiDiscrete):
        return {"multi_discrete": {"nvec": space.nvec.tolist(), "start": space.start.tolist()}}
    if isinstance(space, MultiBinary):
        return {"multi_binary": {"n": list(space.shape)}}
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
            low, high = (
                np.array([bound if x is None else x for x in value[end]], dtype).reshape(value["shape"])
                for end, bound in zip(("low", "high"), unbounded, strict=True)
            )
            return Box(low, high, dtype=dtype.type)
        if kind == "discrete":
            return Discrete(int(value["n"]), start=int(value["start"]))
        if kind == "multi_discrete":
            return MultiDiscrete(np.array(value["nvec"], np.int64), start=np.array(value["start"], np.int64))
        if kind == "multi_binary":
            return MultiBinary([int(n) for n in value["n"]])
        if kind == "dict":
            return Dict({str(name): space_from_json(part) for name, part in value.items()})
        if kind == "tuple":
            return Tuple([space_from_json(part) for part in value])
        raise ValueError(f"unknown kind {kind!r}")
    except (AssertionError, AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError) as error:
        raise OperantError(f"a stored space cannot be read: {str(error)[:80]}") from error
