"""Sequence alignment as a decision problem (Needleman & Wunsch 1970): dynamic programming's classic."""

import numpy as np

from operant.finite.mdp import MDP

ACTIONS = ("align", "gap in second", "gap in first")
STEPS = ((1, 1), (1, 0), (0, 1))


def sequence_alignment(
    first: str, second: str, *, match: float = 1.0, mismatch: float = -1.0, gap: float = -1.0
) -> MDP:
    """State i * (len(second) + 1) + j: i letters of `first` and j of `second` are aligned; v*(0) is the best score.

    Actions align the next letters with each other, or one of them with a gap, where letters are left. Undiscounted.
    """
    rows, columns = len(first) + 1, len(second) + 1
    i, j = np.divmod(np.arange(rows * columns), columns)
    letters = np.array([list(first)]).reshape(-1, 1) == np.array([list(second)]).reshape(1, -1)
    parts = []
    for action, (down, right) in enumerate(STEPS):
        able = (i + down < rows) & (j + right < columns)
        state = np.flatnonzero(able)
        reward = np.full(len(state), gap)
        if action == 0:
            reward = np.where(letters[i[able], j[able]], match, mismatch)
        parts.append((state, np.full_like(state, action), (i[able] + down) * columns + j[able] + right, reward))
    states, actions, targets, rewards = (np.concatenate(column) for column in zip(*parts, strict=True))
    return MDP.from_triples(
        rows * columns, len(STEPS), states, actions, targets, np.ones(len(states)), rewards,
        terminal=[rows * columns - 1], start=np.eye(1, rows * columns)[0], discount=1.0, action_labels=ACTIONS,
    )  # fmt: skip


def aligned(policy: np.ndarray, first: str, second: str) -> tuple[str, str]:
    """The two sequences with gaps written as "-", as `policy` aligns them from the beginning."""
    top, bottom, i, j = "", "", 0, 0
    while (i, j) != (len(first), len(second)):
        down, right = STEPS[policy[i * (len(second) + 1) + j]]
        top += first[i] if down else "-"
        bottom += second[j] if right else "-"
        i, j = i + down, j + right
    return top, bottom
