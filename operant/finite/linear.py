"""Solvers that lean on linear algebra: linear programming, and policy iteration with Krylov evaluation."""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog
from scipy.sparse.linalg import bicgstab, gmres

from operant.finite.bounds import contracts, rounding
from operant.finite.iteration import evaluate, improved
from operant.finite.solution import Solution
from operant.finite.task import Problem, Task, prepare
from operant.finite.validation import MDPError


def linear_programming(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**6
) -> Solution:
    """Least v with v >= r + γ P v for every action (Puterman 1994, section 6.9), by HiGHS.

    HiGHS is exact to about 1e-10; a few backups after it close the certificate. It drops coefficients below 1e-9, so
    discounts nearer to one than that are beyond it; raises `MDPError` where it fails.
    """
    task = prepare(mdp, discount, tolerance, max_iterations)
    model = task.model.collapsed
    legal = np.flatnonzero(model.legal)
    here = sparse.csr_array(
        (np.ones(len(legal)), (np.arange(len(legal)), legal // model.num_actions)),
        shape=(len(legal), model.num_states),
    )
    limits = np.where(model.terminal[:, None], 0.0, [-np.inf, np.inf])
    result = linprog(
        np.ones(model.num_states),
        A_ub=task.discount * model.transitions[legal] - here,
        b_ub=-model.rewards[legal],
        bounds=limits,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not result.success:
        raise MDPError(f"HiGHS cannot solve this at discount {task.discount} ({result.message}); use policy_iteration")
    return task.finish(task.settle(np.where(model.terminal, 0.0, result.x), 0), int(result.nit), "linear_programming")


def krylov_policy_iteration(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**4
) -> Solution:
    """Inexact policy iteration: evaluation by BiCGStab, by GMRES where that breaks down, by LU where both stall.

    Evaluation is carried only a hundred times further than the present Bellman error (Gargiani et al. 2024), so early
    policies cost little; near discount one it needs far fewer products than sweeps.
    """
    task = prepare(mdp, discount, tolerance, max_iterations)
    discounted = contracts(task.model, task.discount)
    policy, values, count = task.first_policy(), np.zeros(task.model.num_states), 0
    while True:
        values = _evaluate(task, policy, values, exact=not discounted)
        action_values = task.model.backup(values, task.discount)
        backed_up = action_values.max(axis=1)
        count += 1
        if task.certified(values, backed_up):
            return task.finish(backed_up, count, "krylov_policy_iteration")
        task.check(count)
        if discounted:
            policy, values = action_values.argmax(axis=1), backed_up
        else:
            # Only an exact evaluation keeps improvements of a policy that ends from losing that property.
            policy = improved(task, values, policy)


def _evaluate(task: Task, policy: np.ndarray, values: np.ndarray, exact: bool) -> np.ndarray:
    """An approximation of v_π from `values`, never with a larger residual than a plain sweep leaves."""
    transitions, rewards, _ = task.model.chosen(policy)
    system = sparse.csr_array(sparse.eye_array(task.model.num_states, format="csr") - task.discount * transitions)

    def residual(candidate: np.ndarray) -> float:
        return float(np.abs(rewards - system @ candidate).max())

    size = float(np.linalg.norm(rewards - system @ values))
    goal = 1e-13 * max(float(np.linalg.norm(rewards)), 1.0) if exact else max(1e-2 * size, 1e-15)
    best = rewards + task.discount * (transitions @ values)
    for method in (bicgstab, gmres):
        found, _ = method(system, rewards, x0=best, rtol=0.0, atol=goal, maxiter=200)
        if np.isfinite(found).all() and residual(found) < residual(best):
            best = found
        if np.linalg.norm(rewards - system @ best) <= goal:
            return best
    stalled = residual(best) > max(0.5 * residual(values), 4.0 * rounding(task.model, best, task.discount))
    return evaluate(task.model, policy, task.discount) if stalled else best
