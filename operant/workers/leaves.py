"""The leaves of observations: what is done to each array of a nested one. Loads no JAX."""

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.spaces import Dict, Tuple

from operant.errors import OperantError


def map_leaves(space: gymnasium.Space, function: Callable[[gymnasium.Space, Any], Any], observation: Any) -> Any:
    """Apply `function(space, leaf)` to the leaves of an observation, keeping its structure.

    Raises `OperantError` where the structure is not the space's.
    """
    if isinstance(space, Dict):
        if not hasattr(observation, "keys") or set(observation.keys()) != set(space.spaces):
            given = sorted(map(str, observation.keys())) if hasattr(observation, "keys") else type(observation).__name__
            raise OperantError(f"an observation has the parts {given}, its space says {sorted(space.spaces)}")
        return {name: map_leaves(part, function, observation[name]) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        if not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
            raise OperantError(f"an observation is not a tuple of {len(space.spaces)} parts, as its space says")
        return tuple(map_leaves(part, function, leaf) for part, leaf in zip(space.spaces, observation, strict=True))
    return function(space, observation)


def assign(space: gymnasium.Space, batch: Any, single: Any, index: int) -> None:
    """Write one observation into row `index` of a batch, leaf by leaf."""
    if isinstance(space, Dict):
        for name, part in space.spaces.items():
            assign(part, batch[name], single[name], index)
    elif isinstance(space, Tuple):
        for number, part in enumerate(space.spaces):
            assign(part, batch[number], single[number], index)
    else:
        batch[index] = single
