"""Dynamic programming by sweeps and by improvement (Puterman 1994, chapter 6; Sutton & Barto, 2nd ed., chapter 4).

Every solver takes an `MDP`, `MoveMDP` or `FunctionMDP`, and returns a `Solution` whose bounds are at most `tolerance`
apart (or as near as float64 allows). `discount=None` uses the problem's own. All raise `MDPError`: for a discount
outside [0, 1], for a problem that has no finite values at discount one, when `max_iterations` is spent.
"""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from operant.finite.bounds import rounding
from operant.finite.collapse import Collapsed, Model, under
from operant.finite.solution import Solution
from operant.finite.task import Problem, Task, model_of, prepare
from operant.finite.validation import check_discount


def value_iteration(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**7
) -> Solution:
    """v <- max_a [r + γ P v] until MacQueen's bounds meet (section 4.4)."""
    task = prepare(mdp, discount, tolerance, max_iterations)
    return _iterate(task, "value_iteration")


def _iterate(task: Task, method: str) -> Solution:
    values, count = np.zeros(task.model.num_states), 0
    while True:
        backed_up = task.model.backup(values, task.discount).max(axis=1)
        count += 1
        if task.certified(values, backed_up):
            return task.finish(backed_up, count, method)
        values = backed_up
        task.check(count)


def policy_iteration(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**4
) -> Solution:
    """Howard's policy iteration with exact evaluation by a sparse LU factorisation (section 4.3)."""
    task = prepare(mdp, discount, tolerance, max_iterations)
    return _improve(task, "policy_iteration")


def _improve(task: Task, method: str) -> Solution:
    policy, count = task.first_policy(), 0
    while True:
        values = evaluate(task.model, policy, task.discount)
        count += 1
        better = improved(task, values, policy)
        if np.array_equal(better, policy):
            return task.finish(task.settle(values, count), count, method)
        policy = better
        task.check(count)


def improved(task: Task, values: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """Greedy, but keeping the present action unless another is better by more than rounding: no cycles."""
    action_values = task.model.backup(values, task.discount)
    current = np.take_along_axis(action_values, policy[:, None], axis=1)[:, 0]
    margin = 4.0 * rounding(task.model, values, task.discount)
    return np.where(action_values.max(axis=1) > current + margin, action_values.argmax(axis=1), policy)


def evaluate(model: Model, policy: np.ndarray, discount: float) -> np.ndarray:
    """v_π `[S]` by solving (I - γ P_π) v = r_π directly."""
    transitions, rewards, _ = model.chosen(policy)
    system = sparse.eye_array(model.num_states, format="csc") - discount * transitions
    return splu(sparse.csc_array(system)).solve(rewards)


def modified_policy_iteration(
    mdp: Problem,
    discount: float | None = None,
    tolerance: float = 1e-9,
    *,
    evaluations: int = 20,
    max_iterations: int = 10**6,
) -> Solution:
    """Puterman & Shin 1978: `evaluations` sweeps of the greedy policy between improvements."""
    task = prepare(mdp, discount, tolerance, max_iterations)
    values, count = np.zeros(task.model.num_states), 0
    while True:
        action_values = task.model.backup(values, task.discount)
        backed_up = action_values.max(axis=1)
        count += 1
        if task.certified(values, backed_up):
            return task.finish(backed_up, count, "modified_policy_iteration")
        transitions, rewards, _ = task.model.chosen(action_values.argmax(axis=1))
        values = backed_up
        for _ in range(evaluations):
            values = rewards + task.discount * (transitions @ values)
        task.check(count)


def policy_evaluation(
    mdp: Problem | Collapsed,
    policy: np.ndarray,
    discount: float | None = None,
    tolerance: float = 1e-9,
    *,
    method: str = "direct",
    max_iterations: int = 10**7,
) -> Solution:
    """v_π of a policy: actions `[S]` or probabilities `[S, A]`; the bounds contain v_π.

    `method` is "direct" (sparse LU) or "iterative" (sweeps, section 4.1). At discount one a policy that may never
    end is refused, unless it earns nothing while it stays.
    """
    model = model_of(mdp)
    discount = check_discount(discount, getattr(mdp, "discount", None))
    task = prepare(under(model, policy), discount, tolerance, max_iterations)
    solve = {"direct": _improve, "iterative": _iterate}[method]
    solution = solve(task, f"policy_evaluation ({method})")
    action_values = model.backup(solution.values, discount)
    return replace(solution, policy=np.asarray(policy), action_values=action_values, problem=mdp)
