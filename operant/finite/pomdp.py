"""Partially observable MDPs, small ones exactly (Kaelbling, Littman & Cassandra 1998)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    """Lower and upper bounds on v*(b) by vectors, one action each: v(b) = max over rows of `vectors @ b`."""

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

    With `horizon` the exact value of that many steps. Without, it stops where the largest change over all beliefs,
    found by linear programs, certifies `tolerance`; that needs a discount below one. Raises `MDPError` at
    `max_vectors`.
    """
    discount = check_discount(discount, pomdp.mdp.discount)
    if horizon is None and discount == 1.0:
        raise MDPError("discount 1 needs a horizon")
    joint = pomdp.joint
    rewards = pomdp.mdp.collapsed.backup(np.zeros(pomdp.mdp.num_states), 0.0)
    vectors, count = np.zeros((1, pomdp.mdp.num_states)), 0
    while True:
        found, labels = [], []
        for action in range(pomdp.mdp.num_actions):
            total = np.zeros((1, pomdp.mdp.num_states))
            for kernel in joint[action]:
                projected = prune(discount * vectors @ kernel.T)
                total = prune((total[:, None] + projected[None]).reshape(-1, total.shape[1]))
                if len(total) > max_vectors:
                    raise MDPError(f"more than {max_vectors} vectors after {count} steps: too large to solve exactly")
            found.append(total + rewards[:, action])
            labels.append(np.full(len(total), action))
        stacked, labelled = np.concatenate(found), np.concatenate(labels)
        kept = _useful(stacked)
        new, labels_kept = stacked[kept], labelled[kept]
        count += 1
        if horizon is not None:
            change, done = 0.0, count == horizon
        else:
            change = max(_rise(new, vectors), _rise(vectors, new)) * discount / (1.0 - discount)
            done = change <= tolerance
        vectors = new
        if done:
            # Pruning drops vectors that help by less than its tolerance, once in each of the steps.
            lost = PRUNING * pomdp.observations.shape[2] * (2.0 / (1.0 - discount) if horizon is None else 2.0 * count)
            return BeliefSolution(vectors, labels_kept, change + lost, count)


PRUNING = 1e-11


def prune(vectors: np.ndarray) -> np.ndarray:
    """The vectors that are best for some belief (Lark's filter)."""
    return vectors[_useful(vectors)]


def _useful(vectors: np.ndarray) -> np.ndarray:
    _, first = np.unique(vectors, axis=0, return_index=True)
    # What another vector beats in every state needs no linear program.
    beaten = (vectors[first][:, None] <= vectors[first][None]).all(axis=2).sum(axis=1) > 1
    candidates = first[~beaten]
    kept = np.unique(candidates[vectors[candidates].argmax(axis=0)]).tolist()
    waiting = [i for i in candidates.tolist() if i not in kept]
    while waiting:
        gain, belief = _best_belief(vectors[waiting[0]], vectors[kept])
        if gain <= PRUNING:
            waiting.pop(0)
        else:
            kept.append(waiting.pop(int((vectors[waiting] @ belief).argmax())))
    return np.array(sorted(kept))


def _rise(upper: np.ndarray, lower: np.ndarray) -> float:
    """max over beliefs of max(upper·b) - max(lower·b)."""
    return max(_best_belief(vector, lower)[0] for vector in upper)


def _best_belief(vector: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray]:
    """The most by which `vector` exceeds all `others` at a belief, and that belief."""
    from scipy.optimize import linprog

    size = len(vector)
    result = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack([others - vector, np.ones(len(others))]),
        b_ub=np.zeros(len(others)),
        A_eq=np.append(np.ones(size), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, 1)] * size + [(None, None)],
        method="highs",
    )
    if not result.success:
        raise MDPError(f"HiGHS found no belief: {result.message}")
    return float(result.x[-1]), result.x[:-1]
