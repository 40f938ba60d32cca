"""Mazes: the book's two, and a generator up to ten million states and beyond."""

import numpy as np

from operant.finite.problems.grids import ACTIONS, MOVES, neighbours
from operant.finite.structured import MoveMDP
from operant.finite.validation import MDPError

DYNA = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
BLOCKING = ("........G", ".........", ".........", "########.", ".........", "...S.....")
BLOCKED = ("........G", ".........", ".........", ".########", ".........", "...S.....")
SHORTCUT = ("........G", ".........", ".........", ".########", ".........", "...S.....")
SHORTCUT_OPEN = ("........G", ".........", ".........", ".#######.", ".........", "...S.....")
NAMED = {
    "dyna": DYNA,
    "blocking": BLOCKING,
    "blocked": BLOCKED,
    "shortcut": SHORTCUT,
    "shortcut-open": SHORTCUT_OPEN,
}


def dyna_maze(layout: str = "dyna") -> MoveMDP:
    """Sutton & Barto, 2nd ed., example 8.1 (and figures 8.4, 8.5): up, down, right, left; reward 1 at G; γ = .95.

    Layouts: "dyna"; "blocking", then "blocked" once the wall has moved; "shortcut", then "shortcut-open".
    """
    if layout not in NAMED:
        raise MDPError(f"unknown layout {layout!r}: {', '.join(NAMED)}")
    rows = NAMED[layout]
    cells = np.array([list(row) for row in rows])
    successors, free = neighbours(cells != "#")
    goal = int(np.flatnonzero(cells[free] == "G")[0])
    rewards = (successors == goal).astype(float)
    start = (cells[free] == "S").astype(float)
    return MoveMDP(
        successors, np.eye(4), rewards, terminal=[goal], start=start, discount=0.95, cells=np.argwhere(free),
        action_labels=ACTIONS,
    )  # fmt: skip


def maze(
    height: int, width: int, *, walls: float = 0.2, slip: float = 0.2, seed: int = 0, discount: float = 0.99
) -> MoveMDP:
    """A grid with random walls, the goal in the middle, and every step costing one.

    Each cell is a wall with probability `walls`; what the goal cannot reach is left out. A move goes astray to
    either side with probability `slip / 2` each; bumping into a wall stays. States are the free cells row by row, so
    that neighbours lie near each other in memory: 41 bytes a state. `cells_of_maze` tells which cell each state is.
    """
    free = cells_of_maze(height, width, walls=walls, seed=seed)
    successors, _ = neighbours(free)
    goal = int(np.count_nonzero(free.reshape(-1)[: (height // 2) * width + width // 2]))
    mix = np.zeros((4, 4))
    for action, (down, right) in enumerate(MOVES):
        mix[action, action] = 1.0 - slip
        mix[action, MOVES.index((right, down))] += slip / 2.0
        mix[action, MOVES.index((-right, -down))] += slip / 2.0
    return MoveMDP(
        successors, mix, -1.0, terminal=[goal], discount=discount, cells=np.argwhere(free), action_labels=ACTIONS
    )


def cells_of_maze(height: int, width: int, *, walls: float = 0.2, seed: int = 0) -> np.ndarray:
    """bool `[height, width]`: the cells that are states of `maze` with the same arguments, in row-major order."""
    if height < 1 or width < 1 or not 0.0 <= walls < 1.0:
        raise MDPError(f"a maze of {height} by {width} with walls {walls} makes no sense")
    from scipy.ndimage import label

    free = np.random.default_rng(seed).random((height, width), dtype=np.float32) >= walls
    middle = (height // 2, width // 2)
    free[middle] = True
    regions: np.ndarray = label(free)[0]  # type: ignore[index]
    return regions == regions[middle]
