"""Mazes whose walls move while the agent learns: Sutton & Barto's blocking and shortcut mazes."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Discrete
from jax import Array

from operant.errors import unknown
from operant.finite.problems.grids import MOVES
from operant.finite.problems.mazes import NAMED


class Schedule(NamedTuple):
    """The parameters of a `ChangingMaze`."""

    change_at: int = 1000  # steps before the walls move


class Place(NamedTuple):
    """Where the agent stands, and the steps since the world began."""

    cell: Array
    time: Array


STANDARD = Schedule()


class ChangingMaze:
    """Sutton & Barto 2018, figures 8.4 and 8.5: one layout, and another after `change_at` steps.

    A compiled environment; layouts are those of `finite.problems.dyna_maze`. Observations number the cells row by
    row, walls included, so that they mean the same before and after. Moves are up, down, right, left; the goal pays 1
    and ends the episode. The time goes on over episodes: a fresh world begins with `reset` alone.
    """

    def __init__(self, before: str = "blocking", after: str = "blocked"):
        for layout in (before, after):
            if layout not in NAMED:
                raise unknown("layout", layout, NAMED)
        self.name = f"{before} maze"
        cells = np.array([[list(row) for row in NAMED[layout]] for layout in (before, after)])
        self.num_cells, width = cells[0].size, cells[0].shape[1]
        self._start, self._goal = (int(np.flatnonzero(cells[0] == mark)[0]) for mark in "SG")
        rows, columns = np.divmod(np.arange(self.num_cells), width)
        targets = np.empty((2, self.num_cells, len(MOVES)), np.int32)
        for action, (down, right) in enumerate(MOVES):
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < len(cells[0])) & (column >= 0) & (column < width)
            there = np.where(inside, row * width + column, np.arange(self.num_cells))
            for k in range(2):
                targets[k, :, action] = np.where(cells[k].ravel()[there] == "#", np.arange(self.num_cells), there)
        self._targets = jnp.asarray(targets)

    @property
    def default_params(self) -> Schedule:
        return STANDARD

    def observation_space(self, params: Any) -> Discrete:
        return Discrete(self.num_cells)

    def action_space(self, params: Any) -> Discrete:
        return Discrete(len(MOVES))

    def reset(self, key: Array, params: Schedule = STANDARD) -> tuple[Array, Place]:
        return jnp.int32(self._start), Place(jnp.int32(self._start), jnp.int32(0))

    def step(self, key: Array, place: Place, action: Array, params: Schedule = STANDARD) -> tuple:
        phase = jnp.where(place.time < params.change_at, 0, 1)
        final = self._targets[phase, place.cell, action]
        ended = final == self._goal
        cell = jnp.where(ended, self._start, final)
        reward, never = ended.astype(jnp.float32), jnp.zeros_like(ended)
        return cell, Place(cell, place.time + 1), reward, ended, never, {"final_observation": final}
