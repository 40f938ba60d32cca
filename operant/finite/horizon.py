"""Finite horizons: the best action depends on the steps left (Puterman 1994, section 4.5)."""

import time

import numpy as np

from operant.finite.bounds import UNIT, rounding
from operant.finite.solution import Solution
from operant.finite.task import Problem, model_of
from operant.finite.validation import MDPError, check_discount


def backward_induction(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, horizon: int | None = None
) -> Solution:
    """Values `[H + 1, S]`, action values `[H, S, A]` and a policy `[H, S]` for H steps, by one backup for each step.

    `horizon=None` uses the problem's own; the discount defaults to the problem's own, or else to 1. After H steps
    the value is zero, so this is the optimum under a time limit. The bounds are rounding alone. Raises `MDPError`
    where there is no horizon, or where rounding exceeds `tolerance`.
    """
    began = time.perf_counter()
    own = mdp.discount
    discount = check_discount(discount, 1.0 if own is None else own)
    horizon = getattr(mdp, "horizon", None) if horizon is None else horizon
    if horizon is None or horizon < 1:
        raise MDPError("this problem has no horizon of its own: give horizon=, at least 1")
    model = model_of(mdp)
    values = np.zeros((horizon + 1, model.num_states))
    errors = np.zeros(horizon + 1)
    action_values = np.empty((horizon, model.num_states, model.num_actions))
    for step in reversed(range(horizon)):
        action_values[step] = model.backup(values[step + 1], discount)
        values[step] = action_values[step].max(axis=1)
        errors[step] = rounding(model, values[step + 1], discount) + (1 + model.width * UNIT) * errors[step + 1]
    if 2.0 * errors[0] > tolerance:
        raise MDPError(f"rounding over {horizon} steps exceeds the tolerance {tolerance}")
    slack = np.where(model.terminal, 0.0, errors[:, None])
    policy = np.where(model.terminal, 0, action_values.argmax(axis=2))
    return Solution(
        values, action_values, policy, values - slack, values + slack, horizon, time.perf_counter() - began,
        "backward_induction", discount, problem=mdp,
    )  # fmt: skip
