"""Models too large to store outcome by outcome: shared moves, and dynamics computed as they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from operant.finite.assembly import terminal_mask
from operant.finite.collapse import Collapsed
from operant.finite.mdp import MDP
from operant.finite.validation import SUM_TOLERANCE, MDPError, check_cells, check_discount, check_indices, check_labels

BLOCK = 1 << 18  # states handled at once, so that temporaries stay in the cache


class Unstored(ABC):
    """What the two models below share: whole-model operations by blocks of states."""

    num_states: int
    num_actions: int
    outcomes: Callable[..., Any]
    terminal: Any
    start: np.ndarray | None
    discount: float | None
    cells: np.ndarray | None = None
    action_labels: tuple[str, ...] | None = None

    @abstractmethod
    def part(self, first: int, last: int, values: np.ndarray, discount: float) -> np.ndarray:
        """Action values `[last - first, A]` of the states from `first` to `last`."""

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Action values `[S, A]`; values of terminal states must be zero."""
        action_values = np.empty((self.num_states, self.num_actions))
        for first in range(0, self.num_states, BLOCK):
            last = min(first + BLOCK, self.num_states)
            action_values[first:last] = self.part(first, last, values, discount)
        return action_values

    def stored(self) -> MDP:
        """The same problem with every outcome written out."""
        return MDP.from_function(
            self.num_states, self.num_actions, self.outcomes, terminal=self.terminal, vectorised=True,
            start=self.start, discount=self.discount, cells=self.cells,
            action_labels=self.action_labels,
        )  # fmt: skip

    @property
    def collapsed(self) -> Collapsed:
        return self._collapsed

    @cached_property
    def _collapsed(self) -> Collapsed:
        return self.stored().collapsed

    def _rows(self, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Checked outcomes of pairs: chances, targets, rewards, ends, each `[n, K]`."""
        chances, targets, rewards, ends = np.broadcast_arrays(*self.outcomes(states, actions))
        check_indices(targets, self.num_states, "next state")
        total = chances.sum(axis=1)
        bad = ~((chances >= 0).all(axis=1) & (np.abs(total - 1.0) <= SUM_TOLERANCE) & np.isfinite(rewards).all(axis=1))
        if bad.any():
            place = int(np.argmax(bad))
            raise MDPError(
                f"state {states[place]}, action {actions[place]}: "
                f"probabilities {chances[place]}, rewards {rewards[place]}"
            )
        return chances, targets, rewards, ends | self.terminal[targets]

    def chosen(self, policy: np.ndarray) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
        if np.ndim(policy) != 1:
            return self.collapsed.chosen(policy)
        states = np.flatnonzero(~self.terminal)
        chances, targets, rewards, ends = self._rows(states, np.asarray(policy)[states])
        keep = (chances > 0) & ~ends
        shape = (self.num_states, self.num_states)
        sources = np.broadcast_to(states[:, None], targets.shape)[keep]
        transitions = sparse.csr_array((chances[keep], (sources, targets[keep])), shape=shape)
        earned, leaks = np.zeros(self.num_states), np.zeros(self.num_states, dtype=bool)
        earned[states] = (chances * rewards).sum(axis=1)
        leaks[states] = ((chances > 0) & ends).any(axis=1)
        return transitions, earned, leaks


@dataclass(frozen=True, eq=False)
class MoveMDP(Unstored):
    """Each action is a lottery over K moves that all actions share, as in mazes, grids and queues.

    Action a makes move k with probability `mix[a, k]`, which leads to `successors[s, k]` and pays `rewards`, of any
    shape that broadcasts to `[S, K]`. 4 K bytes for each state, and one gather per move instead of one per outcome.
    Every action is legal; rows of terminal states are not read.
    """

    successors: np.ndarray  # int32 [S, K]
    mix: np.ndarray  # float64 [A, K]
    rewards: Any
    terminal: Any = None
    start: np.ndarray | None = None
    discount: float | None = None
    cells: np.ndarray | None = None  # int32 [S, 2]: row and column of each state, where they lie on a grid
    action_labels: tuple[str, ...] | None = None
    num_states: int = field(init=False)
    num_actions: int = field(init=False)

    def __post_init__(self) -> None:
        successors, mix = np.asarray(self.successors), np.asarray(self.mix, dtype=float)
        if successors.ndim != 2 or mix.ndim != 2 or mix.shape[1] != successors.shape[1]:
            raise MDPError(f"successors {successors.shape} and mix {mix.shape} are not [S, K] and [A, K]")
        check_indices(successors, len(successors), "successor")
        bad = ~((mix >= 0).all(axis=1) & (np.abs(mix.sum(axis=1) - 1.0) <= SUM_TOLERANCE))
        if bad.any():
            action = int(np.argmax(bad))
            raise MDPError(f"every state, action {action}: move probabilities {mix[action]} are not a distribution")
        try:
            shape = np.broadcast_shapes(np.shape(self.rewards), successors.shape)
        except ValueError:
            shape = None
        rewards = np.atleast_2d(np.asarray(self.rewards, dtype=float))
        if shape != successors.shape or not np.isfinite(rewards).all():
            raise MDPError(
                f"rewards of shape {np.shape(self.rewards)} must be finite and broadcast to {successors.shape}"
            )
        if self.discount is not None:
            check_discount(self.discount)
        for name, value in {
            "num_states": len(successors), "num_actions": len(mix), "mix": mix, "rewards": rewards,
            "successors": np.ascontiguousarray(successors, dtype=np.int32),
            "terminal": terminal_mask(self.terminal, len(successors)),
            "action_labels": check_labels(self.action_labels, len(mix), "action"),
            "cells": check_cells(self.cells, len(successors)),
        }.items():  # fmt: skip
            object.__setattr__(self, name, value)

    @property
    def width(self) -> int:
        return self.successors.shape[1]

    @property
    def reward_bound(self) -> float:
        return float(np.abs(self.rewards).max())

    @property
    def mass(self) -> tuple[float, float]:
        sums = self.mix.sum(axis=1)
        return (0.0 if self.terminal.any() else float(sums.min())), float(sums.max())

    def part(self, first: int, last: int, values: np.ndarray, discount: float) -> np.ndarray:
        moved = values[self.successors[first:last]]
        moved *= discount
        moved += self.rewards if len(self.rewards) == 1 else self.rewards[first:last]
        action_values = moved @ self.mix.T
        action_values[self.terminal[first:last]] = 0.0
        return action_values

    def outcomes(self, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Chances, next states, rewards and ends, each `[n, K]`, as `MDP.from_function` takes them."""
        targets = self.successors[states]
        rewards = self.rewards if len(self.rewards) == 1 else self.rewards[states]
        return self.mix[actions], targets, rewards, np.zeros_like(targets, dtype=bool)
