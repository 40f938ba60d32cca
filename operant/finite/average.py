"""Average reward per step, for problems that go on for ever (Puterman 1994, section 8.5.5)."""

import time

import numpy as np

from operant.finite.bounds import rounding
from operant.finite.solution import Solution
from operant.finite.task import Problem, model_of
from operant.finite.validation import MDPError


def relative_value_iteration(mdp: Problem, tolerance: float = 1e-9, *, max_iterations: int = 10**6) -> Solution:
    """The optimal gain and relative values (bias, zero in state 0).

    min(Tv - v) <= g* <= max(Tv - v) holds for any v; the two meet where the optimal gain is the same in every state.
    Half of each step stays in place (Schweitzer's transformation), so that periodic chains converge. Raises
    `MDPError` for problems that end, whose average reward is zero, and where the bounds do not meet: then the gain
    depends on the state.
    """
    began = time.perf_counter()
    model = model_of(mdp)
    slack = 4e-16 * model.width
    if model.terminal.any() or model.mass[0] < 1.0 - max(1e-9, slack):
        raise MDPError("average reward is for problems that never end: this one has terminal states or outcomes")
    values, best = np.zeros(model.num_states), (np.inf, 0)
    for count in range(1, max_iterations + 1):
        backed_up = model.backup(values, 1.0).max(axis=1)
        change = backed_up - values
        error = rounding(model, values, 1.0)
        low, high = float(change.min()) - error, float(change.max()) + error
        if high - low <= max(tolerance, 4.0 * error):
            break
        width = high - low
        if width < best[0] * 0.999:
            best = (width, count)
        elif count - best[1] > 10_000:
            raise MDPError(f"the gain differs between states (bounds {low:.6g} to {high:.6g} no longer close)")
        values = 0.5 * (values + backed_up)
        values -= values[0]
    else:
        raise MDPError(f"bounds {low:.6g} to {high:.6g} on the gain did not meet in {max_iterations} iterations")
    gain = 0.5 * (low + high)
    action_values = model.backup(values, 1.0) - gain
    everywhere = np.ones(model.num_states)
    return Solution(
        values, action_values, action_values.argmax(axis=1), low * everywhere, high * everywhere, count,
        time.perf_counter() - began, "relative_value_iteration", 1.0, gain, mdp,
    )  # fmt: skip
