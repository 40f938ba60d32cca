"""Hints while training: one line, once, when the metrics say that learning has gone wrong.

Each rule reads the rows of one seed as they come, and is slow to speak: a hint about a healthy run is worse than none.
docs/metrics.md lists them.
"""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete, MultiDiscrete

# Rows are hundredths of a run.
COLLAPSED, COLLAPSED_ROWS = 0.01, 5  # share of the uniform policy's entropy
TIGHT = 0.02  # a standard deviation of continuous actions, in half ranges, that explores no more
BLOWN, BLOWN_ROWS = 0.3, 3  # nats
WORSE_ROWS = 20
VAIN = "returns are no better than at first"
OUTSIDE, OUTSIDE_ROWS = 0.01, 10  # share of the targets beyond the support


class Hints:
    """Reads rows and gives each hint at most once, whichever seed it is about."""

    def __init__(self, space: gymnasium.Space, seeds: int = 1):
        self.least, self._several = least_entropy(space), seeds > 1
        self._steps = -1  # of the newest rows
        self._first: dict[int, float] = {}  # each seed's first return
        self._sick: dict[tuple[str, int], list[float | None]] = {}  # its returns while a symptom lasts, row by row
        self._told: set[str] = set()

    def __call__(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """The hints that the newest rows, one a seed, give rise to; rows that were read before give none."""
        if not rows or rows[0]["steps"] <= self._steps:
            return []
        self._steps, found = rows[0]["steps"], []
        for row in rows:
            for name, told in self._of(row):
                if name not in self._told:
                    self._told.add(name)
                    which = f"seed {row['seed']}, " if self._several else ""
                    found.append(f"hint: {which}after {row['steps']:,} steps {told}")
        return found

    def _of(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        found = []
        divergence, explained, entropy = (row.get(name) for name in ("approximate_kl", "explained_variance", "entropy"))
        if row.get("episode_return") is not None:
            self._first.setdefault(row["seed"], row["episode_return"])
        if self._lasts("kl", row, divergence is not None and divergence > BLOWN, BLOWN_ROWS):
            told = f"one window moves the policy by {divergence:.2g} nats"
            found.append(("kl", f"{told}: a lower learning_rate, fewer num_epochs or a target_kl keep it closer"))
        worse = explained is not None and explained < 0
        if self._lasts("values", row, worse, WORSE_ROWS) and self._in_vain("values", row):
            told = "the values have long explained less than a constant would (explained_variance below 0)"
            found.append(("values", f"{told} and {VAIN}: normalise rewards, or change how fast the critic learns"))
        outside = row.get("outside_support")
        if self._lasts("support", row, outside is not None and outside > OUTSIDE, OUTSIDE_ROWS):
            told = f"{outside:.0%} of the targets lie beyond the support of the returns"
            seen = f"their means go from {row['lowest_target']:.4g} to {row['highest_target']:.4g}"
            found.append(("support", f"{told} ({seen}): widen v_min and v_max"))
        gone = entropy is not None and self.least is not None and entropy < self.least
        if self._lasts("entropy", row, gone, COLLAPSED_ROWS) and self._in_vain("entropy", row):
            told = f"the policy hardly explores any more (entropy {entropy:.2g})"
            found.append(("entropy", f"{told} and {VAIN}: raise entropy_coefficient"))
        return found

    def _lasts(self, symptom: str, row: dict[str, Any], sick: bool, rows: int) -> bool:
        """Whether a seed has been `sick` in that many rows on end."""
        if not sick:
            self._sick.pop((symptom, row["seed"]), None)
            return False
        returns = self._sick.setdefault((symptom, row["seed"]), [])
        returns.append(row.get("episode_return"))
        return len(returns) >= rows

    def _in_vain(self, symptom: str, row: dict[str, Any]) -> bool:
        """Whether returns, while the symptom lasts, are not above the first: once a task is solved, all is calm."""
        seen = [value for value in self._sick[symptom, row["seed"]] if value is not None]
        return not seen or sum(seen) / len(seen) <= self._first[row["seed"]]


def least_entropy(space: gymnasium.Space) -> float | None:
    """The entropy in nats below which a policy over `space` explores no more; None where nobody can say."""
    if isinstance(space, Discrete):
        return COLLAPSED * math.log(space.n) if space.n > 1 else None
    if isinstance(space, MultiDiscrete):
        return COLLAPSED * float(sum(math.log(n) for n in space.nvec.ravel())) or None
    if isinstance(space, Box):
        return math.prod(space.shape) * (0.5 * math.log(2 * math.pi * math.e) + math.log(TIGHT))
    return None
