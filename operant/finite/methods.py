"""Every solver by name, in kebab-case: what the command line and comparisons choose from."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from operant.errors import unknown
from operant.finite.average import relative_value_iteration
from operant.finite.horizon import backward_induction
from operant.finite.iteration import (
    modified_policy_iteration,
    policy_evaluation,
    policy_iteration,
    value_iteration,
)
from operant.finite.linear import krylov_policy_iteration, linear_programming
from operant.finite.solution import Solution
from operant.finite.sweeps import gauss_seidel, prioritised_sweeping
from operant.finite.task import Problem, model_of
from operant.finite.validation import MDPError


def random_policy(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**7
) -> Solution:
    """v_π of the policy to which all legal actions are alike; nothing is optimised."""
    legal = model_of(mdp).collapsed.legal.reshape(mdp.num_states, mdp.num_actions)
    policy = legal / np.maximum(legal.sum(axis=1, keepdims=True), 1)
    return policy_evaluation(mdp, policy, discount, tolerance, max_iterations=max_iterations)


_SOLVERS: tuple[Callable[..., Solution], ...] = (
    value_iteration,
    policy_iteration,
    modified_policy_iteration,
    gauss_seidel,
    prioritised_sweeping,
    linear_programming,
    krylov_policy_iteration,
    backward_induction,
    relative_value_iteration,
    random_policy,
)
METHODS: dict[str, Callable[..., Solution]] = {solver.__name__.replace("_", "-"): solver for solver in _SOLVERS}


def solve(mdp: Problem, method: str = "value-iteration", **arguments: Any) -> Solution:
    """Solve by the method of this name. Arguments that are None are left to the method.

    Raises `OperantError` for an unknown name, with the nearest one, and `MDPError` for an argument that the method
    does not take.
    """
    name = method.lower().replace("_", "-")
    if name not in METHODS:
        raise unknown("method", method, METHODS)
    given = {argument: value for argument, value in arguments.items() if value is not None}
    taken = list(inspect.signature(METHODS[name]).parameters)[1:]
    for argument in given:
        if argument not in taken:
            raise MDPError(f"{name} takes no {argument}, but: {', '.join(taken)}")
    return METHODS[name](mdp, **given)
