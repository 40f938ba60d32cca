"""Grids: Sutton & Barto's 4x4 and 5x5 gridworlds, the windy grid and the cliff."""

from collections.abc import Callable

import numpy as np

from operant.finite.mdp import MDP

MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # up, down, right, left
ACTIONS = ("up", "down", "right", "left")


def neighbours(free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For the cells of a bool grid `[H, W]` that are free, the state each of `MOVES` leads to, int32 `[S, 4]`.

    States number the free cells row by row; off the grid or into a wall, one stays. Also returns `free`.
    """
    height, width = free.shape
    number = np.full((height + 2, width + 2), -1, dtype=np.int32)
    number[1:-1, 1:-1][free] = np.arange(np.count_nonzero(free), dtype=np.int32)
    here = number[1:-1, 1:-1][free]
    successors = np.empty((len(here), len(MOVES)), dtype=np.int32)
    for move, (down, right) in enumerate(MOVES):
        there = number[1 + down : height + 1 + down, 1 + right : width + 1 + right][free]
        successors[:, move] = np.where(there < 0, here, there)
    return successors, free


def _grid(
    shape: tuple[int, int], outcome: Callable[[int, int, int, int], tuple[int, int, float]], **kwargs: object
) -> MDP:
    """A deterministic grid from (row, column, moves down, moves right) -> (row, column, reward)."""
    height, width = shape

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        row, column, reward = outcome(*divmod(state, width), *MOVES[action])
        return [(1.0, row * width + column, reward, False)]

    cells = np.indices(shape).reshape(2, -1).T
    return MDP.from_function(height * width, len(MOVES), outcomes, action_labels=ACTIONS, cells=cells, **kwargs)  # type: ignore[arg-type]


def gridworld_4x4() -> MDP:
    """Example 4.1: two terminal corners, every step costs one, undiscounted. Actions up, down, right, left."""

    def outcome(row: int, column: int, down: int, right: int) -> tuple[int, int, float]:
        return min(max(row + down, 0), 3), min(max(column + right, 0), 3), -1.0

    return _grid((4, 4), outcome, terminal=[0, 15], discount=1.0, start=np.repeat([0, 1 / 14, 0], [1, 14, 1]))


def gridworld_5x5() -> MDP:
    """Examples 3.5 and 3.8: from A (0, 1) to A' for 10, from B (0, 3) to B' for 5, off the grid costs one; γ = .9."""
    special = {(0, 1): (4, 1, 10.0), (0, 3): (2, 3, 5.0)}

    def outcome(row: int, column: int, down: int, right: int) -> tuple[int, int, float]:
        if (row, column) in special:
            return special[row, column]
        if not (0 <= row + down < 5 and 0 <= column + right < 5):
            return row, column, -1.0
        return row + down, column + right, 0.0

    return _grid((5, 5), outcome, discount=0.9)


def windy_grid() -> MDP:
    """Example 6.5: 7 by 10, wind blowing up in the middle columns, from (3, 0) to (3, 7), every step costs one."""
    wind = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)

    def outcome(row: int, column: int, down: int, right: int) -> tuple[int, int, float]:
        return min(max(row + down - wind[column], 0), 6), min(max(column + right, 0), 9), -1.0

    return _grid((7, 10), outcome, terminal=[37], discount=1.0, start=np.eye(70)[30])


def cliff() -> MDP:
    """Example 6.6: 4 by 12, along the bottom row; the cliff between its ends costs 100 and starts over."""

    def outcome(row: int, column: int, down: int, right: int) -> tuple[int, int, float]:
        row, column = min(max(row + down, 0), 3), min(max(column + right, 0), 11)
        return (3, 0, -100.0) if row == 3 and 0 < column < 11 else (row, column, -1.0)

    return _grid((4, 12), outcome, terminal=[47], discount=1.0, start=np.eye(48)[36])
