"""What values depend on: expected rewards r(s, a) and the part of p(s' | s, a) that goes on to a valued state.

A model, as the solvers see one, has `num_states`, `num_actions`, `terminal`, `backup`, `chosen`, `mass`, `width` and
`reward_bound`. `Collapsed` is the explicit one; `structured` and `functional` hold two that are not stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from operant.finite.validation import SUM_TOLERANCE, MDPError, row_sums

if TYPE_CHECKING:
    from scipy import sparse


class Model(Protocol):
    """What a solver needs to know. Values of terminal states passed in must be zero."""

    @property
    def num_states(self) -> int: ...

    @property
    def num_actions(self) -> int: ...

    @property
    def terminal(self) -> np.ndarray: ...

    @property
    def mass(self) -> tuple[float, float]:
        """Least and greatest probability of going on, over all legal state-action pairs."""
        ...

    @property
    def width(self) -> int:
        """The most outcomes of a row: the number of roundings in one backup."""
        ...

    @property
    def reward_bound(self) -> float:
        """The largest |reward| of any outcome."""
        ...

    @property
    def collapsed(self) -> Collapsed: ...

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Action values `[S, A]`: -inf where not legal, zero in terminal states."""
        ...

    def part(self, first: int, last: int, values: np.ndarray, discount: float) -> np.ndarray:
        """`backup` of the states `first` to `last - 1` alone."""
        ...

    def chosen(self, policy: np.ndarray) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
        """Transitions `[S, S]`, expected rewards `[S]` and whether an end is possible `[S]`, under `policy`."""
        ...


class Measured(ABC):
    """`mass` and `width` of a model that finds both in one pass over its outcomes."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[Any, ...]:
        """Least and greatest probability of going on, and the most outcomes of a row, to begin with."""

    @property
    def mass(self) -> tuple[float, float]:
        return self.sizes[0], self.sizes[1]

    @property
    def width(self) -> int:
        return self.sizes[2]


@dataclass(frozen=True, eq=False)
class Collapsed(Measured):
    """Sparse matrix of continuing transitions, one row for each state and action, and expected rewards."""

    num_states: int
    num_actions: int
    transitions: sparse.csr_array  # [S * A, S]: rows sum to the probability that the episode goes on
    rewards: np.ndarray  # [S * A]: -inf where the action is not legal, 0 in terminal states
    leaks: np.ndarray  # bool [S * A]: the episode can end here
    terminal: np.ndarray  # bool [S]
    reward_bound: float  # the largest |reward| of any outcome

    @property
    def collapsed(self) -> Collapsed:
        return self

    @cached_property
    def legal(self) -> np.ndarray:
        """bool `[S * A]`, false in terminal states."""
        return np.isfinite(self.rewards) & np.repeat(~self.terminal, self.num_actions)

    @cached_property
    def sizes(self) -> tuple[float, float, int]:
        widest = int(np.diff(self.transitions.indptr).max(initial=1))
        sums = row_sums(self.transitions.data, self.transitions.indptr)[self.legal]
        return (float(sums.min()), float(sums.max()), widest) if sums.size else (0.0, 0.0, widest)

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        expected = self.transitions @ values
        expected *= discount
        expected += self.rewards
        return expected.reshape(self.num_states, self.num_actions)

    def part(self, first: int, last: int, values: np.ndarray, discount: float) -> np.ndarray:
        rows = slice(first * self.num_actions, last * self.num_actions)
        action_values = discount * (self.transitions[rows] @ values) + self.rewards[rows]
        return action_values.reshape(last - first, self.num_actions)

    def chosen(self, policy: np.ndarray) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
        policy = np.asarray(policy)
        if policy.shape == (self.num_states,):
            rows = np.arange(self.num_states) * self.num_actions + self._checked(policy)
            return self.transitions[rows], self.rewards[rows], self.leaks[rows]
        from scipy import sparse

        weights = self._checked_stochastic(policy).reshape(-1)
        used = np.flatnonzero(weights)
        mixing = sparse.csr_array(
            (weights[used], (used // self.num_actions, used)), shape=(self.num_states, weights.size)
        )
        rewards = np.where(weights > 0, self.rewards, 0.0)  # never 0 * -inf
        leaks = np.asarray(((weights > 0) & self.leaks).reshape(policy.shape).any(axis=1))
        return sparse.csr_array(mixing @ self.transitions), np.asarray(mixing @ rewards), leaks

    def _checked(self, policy: np.ndarray) -> np.ndarray:
        if not np.issubdtype(policy.dtype, np.integer):
            raise MDPError(f"a policy of shape [S] holds action numbers, not {policy.dtype}")
        inside = (policy >= 0) & (policy < self.num_actions)
        rows = np.arange(self.num_states) * self.num_actions + np.where(inside, policy, 0)
        bad = ~self.terminal & ~(inside & self.legal[rows])
        if bad.any():
            state = int(np.argmax(bad))
            raise MDPError(f"state {state}: the policy takes action {policy[state]}, which is not legal there")
        return np.where(inside, policy, 0)

    def _checked_stochastic(self, policy: np.ndarray) -> np.ndarray:
        if policy.shape != (self.num_states, self.num_actions):
            raise MDPError(f"policy has shape {policy.shape}, not [S] or [S, A]")
        weights = np.where(self.terminal[:, None], 0.0, policy)
        bad = ~(weights >= 0) | ((weights > 0) & ~self.legal.reshape(policy.shape))
        if bad.any():
            state, action = divmod(int(np.argmax(bad)), self.num_actions)
            raise MDPError(
                f"state {state}, action {action}: policy probability {weights[state, action]} is not allowed"
            )
        sums = weights.sum(axis=1)
        bad = ~self.terminal & ~(np.abs(sums - 1.0) <= SUM_TOLERANCE)
        if bad.any():
            state = int(np.argmax(bad))
            raise MDPError(f"state {state}: policy probabilities sum to {sums[state]:.12g}, not to 1")
        return weights


def collapse(mdp: Any) -> Collapsed:
    """Expected rewards and continuing transitions of an `MDP`."""
    from scipy import sparse

    rows, states = mdp.num_states * mdp.num_actions, mdp.num_states
    rewards = row_sums(mdp.probabilities * mdp.rewards, mdp.offsets)
    rewards[~mdp.legal.reshape(-1) & np.repeat(~mdp.terminal, mdp.num_actions)] = -np.inf
    possible = mdp.probabilities > 0
    keep = possible & ~mdp.terminated
    kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])[mdp.offsets]
    ends = np.concatenate([[0], np.cumsum(possible & mdp.terminated, dtype=np.int64)])[mdp.offsets]
    index: Any = np.int32 if keep.size < np.iinfo(np.int32).max else np.int64
    transitions = sparse.csr_array(
        (mdp.probabilities[keep], mdp.next_states[keep].astype(index), kept.astype(index)), shape=(rows, states)
    )
    bound = float(np.abs(mdp.rewards).max(initial=0.0))
    return Collapsed(states, mdp.num_actions, transitions, rewards, np.diff(ends) > 0, mdp.terminal, bound)


def under(model: Model, policy: np.ndarray) -> Collapsed:
    """The Markov reward process of `policy`, as a model with one action."""
    transitions, rewards, leaks = model.chosen(policy)
    return Collapsed(model.num_states, 1, transitions, rewards, leaks, model.terminal, model.reward_bound)
