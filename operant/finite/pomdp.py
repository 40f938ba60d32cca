"""Partially observable MDPs, small ones exactly (Kaelbling, Littman & Cassandra 1998)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operant.finite import envelope
from operant.finite.bounds import UNIT
from operant.finite.iteration import value_iteration
from operant.finite.mdp import MDP
from operant.finite.validation import SUM_TOLERANCE, MDPError, check_discount


@dataclass(frozen=True, eq=False)
class POMDP:
    """An MDP seen through `observations` O[a, s', o], the chance of observing o on reaching s' by action a.

    The end of an episode is not observed but earns nothing more; every action must be legal in every state that is
    not terminal. Raises `MDPError` naming the place where a row is not a distribution.
    """

    mdp: MDP
    observations: np.ndarray  # float64 [A, S, O]

    def __post_init__(self) -> None:
        kernel = np.asarray(self.observations, dtype=float)
        shape = (self.mdp.num_actions, self.mdp.num_states)
        if kernel.ndim != 3 or kernel.shape[:2] != shape:
            raise MDPError(f"observations have shape {kernel.shape}, not {(*shape, 'O')}")
        bad = ~((kernel >= 0).all(axis=2) & (np.abs(kernel.sum(axis=2) - 1.0) <= SUM_TOLERANCE))
        if bad.any():
            action, state = divmod(int(np.argmax(bad)), self.mdp.num_states)
            raise MDPError(f"state {state}, action {action}: observation probabilities {kernel[action, state]}")
        missing = ~self.mdp.legal & ~self.mdp.terminal[:, None]
        if missing.any():
            state, action = divmod(int(np.argmax(missing)), self.mdp.num_actions)
            raise MDPError(f"state {state}, action {action}: not legal there, which hidden states cannot tell")
        object.__setattr__(self, "observations", kernel)

    @property
    def joint(self) -> np.ndarray:
        """p(s', o | s, a) of going on, float64 `[A, O, S, S']`."""
        states, actions = self.mdp.num_states, self.mdp.num_actions
        dense = self.mdp.collapsed.transitions.toarray().reshape(states, actions, states)
        return np.einsum("sat,ato->aost", dense, self.observations)

    def update(self, belief: np.ndarray, action: int, observation: int) -> np.ndarray:
        """Bayes' rule: the belief `[S]` after `action` and `observation`. Raises `MDPError` where it cannot happen."""
        weight = belief @ self.joint[action, observation]
        total = weight.sum()
        if not total > 0:
            raise MDPError(f"action {action}: observation {observation} has probability zero under this belief")
        return weight / total


@dataclass(frozen=True, eq=False)
class BeliefSolution:
    """v*(b) within `error` by vectors with one action each: v(b) = max over rows of `vectors @ b`."""

    vectors: np.ndarray  # [N, S]
    actions: np.ndarray  # [N]
    error: float  # v*(b) lies within `error` of `value(b)` for every belief
    iterations: int

    def value(self, belief: np.ndarray) -> float:
        return float((self.vectors @ belief).max())

    def action(self, belief: np.ndarray) -> int:
        return int(self.actions[(self.vectors @ belief).argmax()])


def qmdp(pomdp: POMDP, discount: float | None = None, tolerance: float = 1e-9) -> np.ndarray:
    """Action values `[S, A]` of the visible problem; max_a b·Q is an upper bound on v*(b) (Littman et al. 1995)."""
    return value_iteration(pomdp.mdp, discount, tolerance).action_values


def solve_pomdp(
    pomdp: POMDP,
    discount: float | None = None,
    tolerance: float = 1e-6,
    *,
    horizon: int | None = None,
    max_vectors: int = 5000,
) -> BeliefSolution:
    """Exact value iteration over α-vectors by incremental pruning (Cassandra, Littman & Zhang 1997).

    With `horizon` the exact value of that many steps. Without, iterates until it certifies `tolerance`, which needs a
    discount below one: if one step V' of V loses at most e to pruning and rounding, and low <= V' - V <= high at
    every belief, then (γ low - e) / (1 - γ) <= v* - V' <= (γ high + e) / (1 - γ). Where episodes can end, low <= 0
    <= high is asked too. Raises `MDPError` at `max_vectors`, and where rounding alone exceeds `tolerance`.
    """
    discount = check_discount(discount, pomdp.mdp.discount)
    if horizon is None and discount == 1.0:
        raise MDPError("discount 1 needs a horizon")
    endless = pomdp.mdp.collapsed.mass[0] >= 1.0 - SUM_TOLERANCE and not pomdp.mdp.terminal.any()
    joint = pomdp.joint
    # A step prunes twice for each observation and once at its end.
    slack = 1e-12 if horizon is not None else tolerance * (1.0 - discount) / (8.0 * (2 * joint.shape[1] + 1))
    rewards = pomdp.mdp.collapsed.backup(np.zeros(pomdp.mdp.num_states), 0.0)
    vectors, count, total = np.zeros((1, pomdp.mdp.num_states)), 0, 0.0
    while True:
        new, actions, lost = _step(vectors, joint, rewards, discount, slack, max_vectors)
        count, total = count + 1, discount * total + lost
        if horizon is not None:
            if count == horizon:
                return BeliefSolution(new, actions, total, count)
        elif envelope.roughly(new, vectors) * discount <= tolerance or (endless and count % 8 == 0):
            high, low = envelope.excess(new, vectors), -envelope.excess(vectors, new)
            if not endless:
                high, low = max(high, 0.0), min(low, 0.0)
            upper, lower = ((discount * high + lost) / (1.0 - discount), (discount * low - lost) / (1.0 - discount))
            if 0.5 * (upper - lower) <= tolerance:
                shift = 0.5 * (upper + lower) if endless else 0.0
                return BeliefSolution(new + shift, actions, max(upper - shift, shift - lower), count)
            if 2.0 * lost / (1.0 - discount) > tolerance:
                raise MDPError(f"pruning and rounding lose {lost:.2g} in a step: tolerance {tolerance} is out of reach")
        vectors = new


def _step(
    vectors: np.ndarray, joint: np.ndarray, rewards: np.ndarray, discount: float, slack: float, max_vectors: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """One exact backup: vectors, their actions, and a bound on what pruning and rounding lost."""
    found, labels, lost = [], [], 0.0
    for action, kernels in enumerate(joint):
        sums, gone = np.zeros((1, rewards.shape[0])), 0.0
        for kernel in kernels:
            projected = discount * vectors @ kernel.T
            kept, dropped = envelope.prune(projected, slack)
            crossed = (sums[:, None] + projected[kept][None]).reshape(-1, rewards.shape[0])
            left, less = envelope.prune(crossed, slack)
            sums, gone = crossed[left], gone + max(dropped, 0.0) + max(less, 0.0)
            if len(sums) > max_vectors:
                raise MDPError(f"more than {max_vectors} vectors: too large to solve exactly")
        found.append(sums + rewards[:, action])
        labels.append(np.full(len(sums), action))
        lost = max(lost, gone)
    stacked, labelled = np.concatenate(found), np.concatenate(labels)
    kept, dropped = envelope.prune(stacked, slack)
    operations = (joint.shape[1] + 2) * (joint.shape[2] + 2)
    rounded = UNIT * operations * float(np.abs(rewards).max() + np.abs(stacked).max() + np.abs(vectors).max())
    return stacked[kept], labelled[kept], lost + max(dropped, 0.0) + rounded
