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
OUTSIDE, OUTSIDE_ROWS = 0.01, 10  # share of the targets beyond the support


class Hints:
    """Reads rows and gives each hint at most once, whichever seed it is about."""

    def __init__(self, space: gymnasium.Space, seeds: int = 1):
        self.least, self._several = least_entropy(space), seeds > 1
        self._steps = -1  # of the newest rows
        self._running: dict[tuple[str, int], int] = {}  # rows on end, by hint and seed
        self._first: dict[int, float] = {}  # each seed's first return
        self._low: dict[int, list[float]] = {}  # its returns since the entropy is low
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
        found, seed = [], row["seed"]
        divergence, explained = row.get("approximate_kl"), row.get("explained_variance")
        if self._for("kl", seed, divergence is not None and divergence > BLOWN, BLOWN_ROWS):
            told = f"one window moves the policy by {divergence:.2g} nats"
            found.append(("kl", f"{told}: a lower learning_rate, fewer num_epochs or a target_kl keep it closer"))
        if self._for("values", seed, explained is not None and explained < 0, WORSE_ROWS):
            told = "the values have long explained less than a constant would (explained_variance below 0)"
            found.append(("values", f"{told}: normalise rewards, or change how fast the critic learns"))
        outside = row.get("outside_support")
        if self._for("support", seed, outside is not None and outside > OUTSIDE, OUTSIDE_ROWS):
            told = f"{outside:.0%} of the targets lie beyond the support of the returns"
            seen = f"their means go from {row['lowest_target']:.4g} to {row['highest_target']:.4g}"
            found.append(("support", f"{told} ({seen}): widen v_min and v_max"))
        if self._for("entropy", seed, self._stuck(row), COLLAPSED_ROWS):
            told = f"the policy hardly explores any more (entropy {row['entropy']:.2g})"
            found.append(("entropy", f"{told} and returns are no better than at first: raise entropy_coefficient"))
        return found

    def _stuck(self, row: dict[str, Any]) -> bool:
        """Whether the entropy is gone although returns, since it is, have not been above the first."""
        seed, entropy, seen = row["seed"], row.get("entropy"), row.get("episode_return")
        if seen is not None:
            self._first.setdefault(seed, seen)
        if entropy is None or self.least is None or entropy >= self.least:
            self._low.pop(seed, None)
            return False
        low = self._low.setdefault(seed, [])
        low.extend([] if seen is None else [seen])
        return not low or sum(low) / len(low) <= self._first[seed]

    def _for(self, name: str, seed: int, sick: bool, rows: int) -> bool:
        """Whether `sick` has been true of a seed in that many rows on end."""
        self._running[name, seed] = self._running.get((name, seed), 0) + 1 if sick else 0
        return self._running[name, seed] >= rows


def least_entropy(space: gymnasium.Space) -> float | None:
    """The entropy in nats below which a policy over `space` explores no more; None where nobody can say."""
    if isinstance(space, Discrete):
        return COLLAPSED * math.log(space.n) if space.n > 1 else None
    if isinstance(space, MultiDiscrete):
        return COLLAPSED * float(sum(math.log(n) for n in space.nvec.ravel())) or None
    if isinstance(space, Box):
        return math.prod(space.shape) * (0.5 * math.log(2 * math.pi * math.e) + math.log(TIGHT))
    return None
