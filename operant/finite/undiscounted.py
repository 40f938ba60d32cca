"""Discount one, soundly: total reward until the end, where it is finite; refused with the reason where it is not.

Value iteration has many fixed points where one can loop for nothing, and its residual proves nothing where policies
may never end. So (1) sets of states in which one can stay for ever at no reward are merged into one, with staying
as an action worth zero (Haddad & Monmege 2018); (2) what loops remain must cost something, and an end must be
reachable from everywhere, which are the conditions of Bertsekas & Tsitsiklis 1991; (3) the certificate is a pair
l <= T_π l for a proper policy π, and u >= T u, both checked with rounding to spare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from operant.finite.bounds import rounding
from operant.finite.collapse import Collapsed
from operant.finite.graph import end_components, towards_end
from operant.finite.validation import MDPError

ROUNDS = 200  # policy improvements allowed to the upper bound; a handful is usual


@dataclass(frozen=True, eq=False)
class Quotient:
    """`model` has one state for each free loop of `original`; `merged` says which state became which."""

    original: Collapsed
    model: Collapsed
    merged: np.ndarray  # [S]
    rows: np.ndarray  # [S' * A']: the original row, -1 for staying or padding
    free: np.ndarray  # bool [S * A]: the rows that move within a free loop

    def lift(self, policy: np.ndarray) -> np.ndarray:
        """The policy `[S]` of the original: walk within the loop to where `policy` leaves it."""
        taken = self.rows[np.arange(self.model.num_states) * self.model.num_actions + policy]
        leaving = np.zeros(len(self.original.rewards), dtype=bool)
        leaving[taken[taken >= 0]] = True
        lifted = towards_end(self.original, leaving | self.free, leaving)
        staying = self.free.reshape(self.original.num_states, -1).argmax(axis=1)
        return np.where(lifted < 0, staying, lifted)


def reduce(original: Collapsed) -> Quotient:
    """Merge free loops and check that what is left has finite values. Raises `MDPError` naming a state otherwise."""
    states, actions = original.num_states, original.num_actions
    labels, free = end_components(original, original.rewards == 0)
    alone = labels < 0
    if alone.all():
        quotient = Quotient(original, original, np.arange(states), np.arange(states * actions), free)
    else:
        loops, numbers = np.unique(labels[~alone], return_inverse=True)
        merged = np.empty(states, dtype=np.int64)
        merged[~alone] = numbers
        merged[alone] = len(loops) + np.arange(alone.sum())
        quotient = _merge(original, merged, len(loops), free)
    _check(quotient)
    return quotient


def _merge(original: Collapsed, merged: np.ndarray, loops: int, free: np.ndarray) -> Quotient:
    """Rows of merged states, sorted by state, then one row for staying in each of the first `loops` states."""
    states = int(merged.max()) + 1
    kept = np.flatnonzero(original.legal & ~free)
    owner = np.concatenate([merged[kept // original.num_actions], np.arange(loops)])
    source = np.concatenate([kept, np.full(loops, -1)])
    order = np.argsort(owner, kind="stable")
    owner, source = owner[order], source[order]
    first = np.searchsorted(owner, np.arange(states))
    actions = max(int(np.bincount(owner, minlength=states).max()), 1)
    place = owner * actions + np.arange(len(owner)) - first[owner]
    rows = np.full(states * actions, -1)
    rows[place] = source
    terminal = np.zeros(states, dtype=bool)
    terminal[merged[original.terminal]] = True
    rewards = np.where(np.repeat(terminal, actions), 0.0, -np.inf)
    rewards[place] = np.where(source >= 0, original.rewards[source], 0.0)
    leaks = np.zeros(states * actions, dtype=bool)
    leaks[place] = (source < 0) | original.leaks[source]
    joined = sparse.csr_array((np.ones(len(merged)), (np.arange(len(merged)), merged)), shape=(len(merged), states))
    picked = np.flatnonzero(rows >= 0)
    spread = sparse.csr_array((np.ones(len(picked)), (picked, rows[picked])), shape=(len(rows), len(original.rewards)))
    transitions = sparse.csr_array(spread @ (original.transitions @ joined))
    model = Collapsed(states, actions, transitions, rewards, leaks, terminal, original.reward_bound)
    return Quotient(original, model, merged, rows, free)


def _check(quotient: Quotient) -> None:
    model, names = quotient.model, quotient.merged
    _, inside = end_components(model, np.ones(len(model.rewards), dtype=bool))
    paying = inside & (model.rewards > 0)
    if paying.any():
        state = int(np.argmax(names == np.argmax(paying) // model.num_actions))
        raise MDPError(
            f"state {state}: a loop that need never end passes a positive reward, so values at discount 1 need not be "
            "finite; give a discount below 1, or use relative_value_iteration"
        )
    stuck = (towards_end(model, model.legal, model.leaks) < 0) & ~model.terminal
    if stuck.any():
        state = int(np.argmax(names == np.argmax(stuck)))
        raise MDPError(
            f"state {state} can reach no end, so its value at discount 1 is not finite; give a discount below 1"
        )


def proper_greedy(model: Collapsed, values: np.ndarray) -> np.ndarray:
    """A greedy policy `[S']` that ends with probability one: ties within rounding are broken towards the end."""
    action_values = model.backup(values, 1.0)
    policy = action_values.argmax(axis=1)
    best = action_values.max(axis=1, keepdims=True)
    span = 1.0 + float(np.abs(values).max(initial=0.0))
    for tie in (0.0, 1e-12, 1e-9, 1e-6, 1e-3, np.inf):
        allowed = (action_values >= best - tie * span).reshape(-1) & model.legal
        if tie == 0.0:
            taken = np.zeros_like(allowed)
            taken[np.arange(model.num_states) * model.num_actions + policy] = True
            allowed &= taken
        found = towards_end(model, allowed, model.leaks)
        if not ((found < 0) & ~model.terminal).any():
            return np.where(model.terminal, 0, found)
    raise AssertionError("a reduced model reaches an end from every state")


def certify(model: Collapsed, policy: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray] | None:
    """`(lower, upper)` around v* of a reduced model from a proper `policy`; None where it is not near-optimal."""
    here = ~model.terminal
    base, steps = _values_and_steps(model, policy)
    noise = 2.0 * rounding(model, base, 1.0)
    margin = max(8.0 * noise, tolerance / (4.0 * max(float(steps.max()), 1.0)))
    transitions, rewards, _ = model.chosen(policy)
    for _ in range(4):
        lower = np.where(here, base - margin * steps, 0.0)
        if (rewards + transitions @ lower - lower >= noise)[here].all():
            break
        margin *= 8.0
    else:
        return None
    upper = np.where(here, base + margin * steps, 0.0)
    for _ in range(ROUNDS):
        action_values = model.backup(upper, 1.0)
        if (upper - action_values.max(axis=1) >= noise)[here].all():
            return lower, upper
        # The best policy of the problem in which every step earns `margin` more: its value is such a bound.
        current = np.take_along_axis(action_values, policy[:, None], axis=1)[:, 0]
        policy = np.where(action_values.max(axis=1) > current + margin / 4.0, action_values.argmax(axis=1), policy)
        base, steps = _values_and_steps(model, policy)
        if not (np.isfinite(base).all() and (steps[here] >= 1.0 - 1e-9).all()):
            return None
        upper = np.where(here, base + margin * steps, 0.0)
    return None


def _values_and_steps(model: Collapsed, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and expected number of steps of a proper policy, by one sparse factorisation."""
    transitions, rewards, _ = model.chosen(policy)
    system = sparse.csc_array(sparse.eye_array(model.num_states, format="csc") - transitions)
    solve = splu(system).solve
    return solve(rewards), solve((~model.terminal).astype(float))
