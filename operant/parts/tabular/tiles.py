"""Tile coding: several overlapping grids over a box, each cell of which is one binary feature.

Source: Sutton & Barto 2018, section 9.5.4. A point lies in one cell of every tiling, so that of many features exactly
`num_tilings` are 1: what is linear in them is a sum of as many weights, gathered by number.
"""

import math

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete
from jax import Array

from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.encoders import LARGEST_BOUND

LARGEST = 10**8  # features


@component
class Tiles:
    """`num_tilings` grids of `bins` cells along each dimension of a bounded Box, or along the numbers of a Discrete.

    Tiling k is displaced by k (1, 3, 5, ...) / `num_tilings` of a cell: by odd, unequal amounts, which generalise
    evenly in all directions. Without `memory` every cell has a feature of its own; with it, cells are hashed into so
    many, collisions included, for boxes of many dimensions.
    """

    num_tilings: int = 8
    bins: int = 8
    memory: int | None = None

    def size(self, space: gymnasium.Space) -> int:
        """The number of features. Raises `OperantError` where `space` cannot be tiled."""
        check_range(self, 1, math.inf, "num_tilings", "bins", "memory")
        low, _ = _bounds(space)
        if self.memory is not None:
            return self.memory
        count = self.num_tilings * (self.bins + 1) ** low.size
        if count > LARGEST:
            raise OperantError(f"tile coding would need {count:.1g} features here: set its memory, or fewer bins")
        return count

    def features(self, space: gymnasium.Space, observation: Array) -> Array:
        """The numbers of the features that are 1: int32 `[..., num_tilings]` for observations with leading axes."""
        low, high = map(jnp.asarray, _bounds(space))
        values = jnp.asarray(observation, jnp.float32)
        lead = values.shape[: values.ndim - len(space.shape or ())]
        values = values.reshape(*lead, 1, low.size)
        tilings = np.arange(self.num_tilings, dtype=np.int32)
        # In units of 1 / num_tilings of a cell, every displacement is whole.
        displaced = tilings[:, None] * (1 + 2 * np.arange(low.size, dtype=np.int32)) % self.num_tilings
        units = self.bins * self.num_tilings
        ones = (1,) * (len(lead) + 1)
        fine = jnp.floor((values - low.reshape(*ones, -1)) * (units / (high - low)).reshape(*ones, -1)).astype(
            jnp.int32
        )
        fine = jnp.clip(fine, 0, units - 1)  # the upper bound, and whatever lies outside, belongs to the last cell
        cells = (fine + displaced.reshape(*(1,) * len(lead), *displaced.shape)) // self.num_tilings
        if self.memory is not None:
            return self._hashed(cells, tilings)
        number = jnp.broadcast_to(tilings, cells.shape[:-1])
        for k in range(low.size):
            number = number * (self.bins + 1) + cells[..., k]
        return number

    def _hashed(self, cells: Array, tilings: np.ndarray) -> Array:
        """Each cell's number below `memory`, its coordinates mixed in turn by MurmurHash3's last step."""
        state = jnp.broadcast_to(jnp.asarray(tilings, jnp.uint32), cells.shape[:-1])
        for k in range(cells.shape[-1]):
            state = state * np.uint32(0x9E3779B9) + cells[..., k].astype(jnp.uint32)
            for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
                state = (state ^ (state >> shift)) * np.uint32(factor)
        return (state % np.uint32(self.memory or 1)).astype(jnp.int32)


def _bounds(space: gymnasium.Space) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper bounds of each dimension, float32 `[D]`."""
    if isinstance(space, Discrete):
        return np.array([space.start], np.float32), np.array([space.start + space.n], np.float32)
    if not isinstance(space, Box):
        raise OperantError(f"tile coding needs observations in a Box or Discrete, not {space}")
    low, high = space.low.ravel(), space.high.ravel()
    if max(np.abs(low).max(), np.abs(high).max()) > LARGEST_BOUND or (high <= low).any():
        raise OperantError(f"tile coding needs bounds to every dimension, which {space} does not have")
    return low.astype(np.float32), high.astype(np.float32)
