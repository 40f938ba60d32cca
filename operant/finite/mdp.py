"""Finite Markov decision processes: joint dynamics p(s', r | s, a), stored sparsely (Sutton & Barto, 2nd ed., 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from operant.finite import assembly, storage
from operant.finite.collapse import Collapsed, collapse
from operant.finite.validation import (
    MDPError,
    check_cells,
    check_discount,
    check_distribution,
    check_labels,
    check_outcomes,
)


@dataclass(frozen=True, eq=False)
class MDP:
    """Every outcome (probability, next state, reward, terminated) of every state and action, N in all.

    Outcomes of (s, a) are the range `offsets[s * A + a]` to `offsets[s * A + a + 1]` of the flat arrays. An empty
    range is an action that is not legal in that state. Terminal states have no outcomes and their value is zero by
    mask; entering one, or an outcome whose own `terminated` flag is set, ends the episode. Rewards stay joint with
    the next state: `collapsed` gives their expectation. Raises `MDPError` (a `ValueError`) naming the place where
    the arrays make no sense.
    """

    num_states: int
    num_actions: int
    offsets: np.ndarray  # int64 [S * A + 1]
    probabilities: np.ndarray  # float64 [N]
    next_states: np.ndarray  # int32 [N]
    rewards: np.ndarray  # float64 [N]
    terminated: np.ndarray  # bool [N], also set wherever the next state is terminal
    terminal: np.ndarray  # bool [S]
    start: np.ndarray | None = None  # float64 [S], the distribution of the first state
    discount: float | None = None  # what solvers use where they are given none
    horizon: int | None = None  # steps in an episode, None where there is no limit
    state_labels: tuple[str, ...] | None = None
    action_labels: tuple[str, ...] | None = None
    cells: np.ndarray | None = None  # int32 [S, 2]: row and column of each state, where they lie on a grid

    def __post_init__(self) -> None:
        if self.num_states < 1 or self.num_actions < 1:
            raise MDPError(f"{self.num_states} states and {self.num_actions} actions: both must be at least 1")
        convert = {"offsets": np.int64, "probabilities": float, "rewards": float, "terminated": bool, "terminal": bool}
        for name, dtype in convert.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        if self.terminal.shape != (self.num_states,) or self.offsets.shape != (self.num_states * self.num_actions + 1,):
            raise MDPError(f"terminal {self.terminal.shape} or offsets {self.offsets.shape} do not fit the states")
        filled = check_outcomes(self.num_actions, self.offsets, self.probabilities, self.next_states, self.rewards)
        filled = filled.reshape(self.num_states, self.num_actions).any(axis=1)
        object.__setattr__(self, "next_states", np.ascontiguousarray(self.next_states, dtype=np.int32))
        if (filled & self.terminal).any():
            raise MDPError(f"terminal state {int(np.argmax(filled & self.terminal))} has outcomes")
        if not (filled | self.terminal).all():
            state = int(np.argmin(filled | self.terminal))
            raise MDPError(f"state {state} is not terminal and has no legal action")
        object.__setattr__(self, "terminated", self.terminated | self.terminal[self.next_states])
        if self.start is not None:
            start = np.asarray(self.start, dtype=float)
            if start.shape != (self.num_states,):
                raise MDPError(f"start has shape {start.shape}, not ({self.num_states},)")
            check_distribution(start, "start probabilities")
            object.__setattr__(self, "start", start)
        object.__setattr__(self, "cells", check_cells(self.cells, self.num_states))
        if self.discount is not None:
            check_discount(self.discount)
        if self.horizon is not None and self.horizon < 1:
            raise MDPError(f"horizon {self.horizon} is less than one step")
        object.__setattr__(self, "state_labels", check_labels(self.state_labels, self.num_states, "state"))
        object.__setattr__(self, "action_labels", check_labels(self.action_labels, self.num_actions, "action"))

    @cached_property
    def collapsed(self) -> Collapsed:
        """Expected rewards and the continuing part of the transitions, which is all that values depend on."""
        return collapse(self)

    @property
    def legal(self) -> np.ndarray:
        """bool `[S, A]`: which actions exist; none does in a terminal state."""
        return (np.diff(self.offsets) > 0).reshape(self.num_states, self.num_actions)

    def outcomes(self, state: int, action: int) -> list[tuple[float, int, float, bool]]:
        """`(probability, next_state, reward, terminated)` of one state and action, as Gymnasium's `P` writes it."""
        row = state * self.num_actions + action
        part = slice(self.offsets[row], self.offsets[row + 1])
        columns = (self.probabilities, self.next_states, self.rewards, self.terminated)
        return list(zip(*(column[part].tolist() for column in columns), strict=True))

    def complete(self) -> MDP:
        """The same problem with every action legal: one that was not does what the state's first legal one does.

        Optimal values, and with them the best policies, stay what they are.
        """
        first = self.legal.argmax(axis=1)[:, None]
        taken = np.where(self.legal | self.terminal[:, None], np.arange(self.num_actions), first)
        rows = (np.arange(self.num_states)[:, None] * self.num_actions + taken).reshape(-1)
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[rows])])
        order = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], np.diff(offsets))
        columns = ("probabilities", "next_states", "rewards", "terminated")
        return replace(self, offsets=offsets, **{name: getattr(self, name)[order] for name in columns})

    @staticmethod
    def from_arrays(
        transitions: np.ndarray | Sequence[Any],
        rewards: np.ndarray,
        *,
        terminal: Any = None,
        legal: Any = None,
        **kwargs: Any,
    ) -> MDP:
        """From `transitions` P[s, a, s'], or a list of A matrices [S, S], sparse or dense; R[s, a] or R[s, a, s'].

        `terminal`: bool `[S]` or indices; what the arrays say of those states is never read. `legal`: bool `[S, A]`,
        all legal by default. Further arguments (`start`, `discount`, `horizon`, labels, `cells`) go to `MDP`.
        """
        return MDP(**assembly.arrays(transitions, rewards, terminal, legal), **kwargs)

    @staticmethod
    def from_triples(
        num_states: int, num_actions: int, states: Any, actions: Any, next_states: Any, probabilities: Any,
        rewards: Any, *, terminated: Any = None, terminal: Any = None, **kwargs: Any,
    ) -> MDP:  # fmt: skip
        """From parallel arrays `[N]`, one outcome each, in any order; (s, a) without outcomes is not legal."""
        columns = (states, actions, next_states, probabilities, rewards)
        return MDP(**assembly.triples(num_states, num_actions, columns, terminated, terminal), **kwargs)

    @staticmethod
    def from_function(
        num_states: int, num_actions: int, outcomes: Callable[[Any, Any], Any],
        *, terminal: Any = None, vectorised: bool = False, **kwargs: Any,
    ) -> MDP:  # fmt: skip
        """From `outcomes(state, action)`, a list of (probability, next_state, reward, terminated), empty if not legal.

        With `vectorised` it is called with index arrays `[n]` and returns four arrays `[n, K]`, padded with
        probability zero. It is not called for terminal states. For dynamics too large to store: `FunctionMDP`.
        """
        build = assembly.vectorised if vectorised else assembly.function
        return MDP(**build(num_states, num_actions, outcomes, terminal), **kwargs)

    def save(self, path: str | Path) -> None:
        """Write the arrays (safetensors) with a JSON header to one file."""
        storage.save(self, path)

    @staticmethod
    def load(path: str | Path) -> MDP:
        """Read what `save` wrote. Raises `CheckpointError` where the file is missing or damaged."""
        return MDP(**storage.load(path))


def start_of(problem: Any) -> np.ndarray:
    """The distribution of the first state `[S]`: the problem's own, or all states that are not terminal, alike."""
    if problem.start is not None:
        return problem.start
    going = ~problem.terminal
    return going / max(int(going.sum()), 1)
