"""Dynamics that are never stored, only computed, block by block, in every sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from operant.finite.assembly import terminal_mask
from operant.finite.collapse import Measured
from operant.finite.structured import BLOCK, Unstored
from operant.finite.validation import check_discount


@dataclass(frozen=True, eq=False)
class FunctionMDP(Unstored, Measured):
    """Dynamics computed on the fly: nothing is stored, every sweep calls `outcomes` again.

    `outcomes(states [n], actions [n])` returns probabilities, next states, rewards and terminated flags, each
    `[n, K]` or broadcasting to it, padded with probability zero. Every action is legal. Not called for terminal states.
    """

    num_states: int
    num_actions: int
    outcomes: Callable[[np.ndarray, np.ndarray], tuple[Any, Any, Any, Any]]
    terminal: Any = None
    start: np.ndarray | None = None
    discount: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "terminal", terminal_mask(self.terminal, self.num_states))
        if self.discount is not None:
            check_discount(self.discount)

    @cached_property
    def sizes(self) -> tuple[float, float, int, float]:
        """One pass over all dynamics, which also checks them."""
        low, high, width, bound = np.inf, 0.0, 1, 0.0
        for first in range(0, self.num_states, BLOCK):
            states = first + np.flatnonzero(~self.terminal[first : first + BLOCK])
            for action in range(self.num_actions):
                if states.size:
                    chances, _, rewards, ends = self._rows(states, np.full_like(states, action))
                    sums = (chances * ~ends).sum(axis=1)
                    low, high = min(low, float(sums.min())), max(high, float(sums.max()))
                    width, bound = max(width, chances.shape[1]), max(bound, float(np.abs(rewards).max()))
        return min(low, high), high, width, bound

    @property
    def reward_bound(self) -> float:
        return self.sizes[3]

    def part(self, first: int, last: int, values: np.ndarray, discount: float) -> np.ndarray:
        states = first + np.flatnonzero(~self.terminal[first:last])
        action_values = np.zeros((last - first, self.num_actions))
        for action in range(self.num_actions):
            chances, targets, rewards, ends = self.outcomes(states, np.full_like(states, action))
            onward = np.where(ends, 0.0, discount) * values[targets]
            action_values[states - first, action] = (chances * (rewards + onward)).sum(axis=1)
        return action_values
