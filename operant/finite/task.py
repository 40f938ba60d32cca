"""What every solver begins and ends with: the model to iterate on, when to stop, and the certificate."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from operant.finite import undiscounted
from operant.finite.bounds import contracts, interval, rounding, shifts
from operant.finite.collapse import Model
from operant.finite.functional import FunctionMDP
from operant.finite.graph import towards_end
from operant.finite.mdp import MDP
from operant.finite.solution import Solution
from operant.finite.structured import MoveMDP
from operant.finite.validation import MDPError, check_discount

Problem: TypeAlias = MDP | MoveMDP | FunctionMDP
Interval: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclass
class Task:
    """One call of a solver. `model` is what it iterates on: at discount one that is the reduced problem."""

    whole: Model
    model: Model
    discount: float
    tolerance: float
    limit: int
    quotient: undiscounted.Quotient | None
    began: float = field(default_factory=time.perf_counter)
    closeness: float = np.inf  # how small changes must be before a certificate is tried again, at discount one
    bounds: Interval | None = None
    problem: Any = None

    def first_policy(self) -> np.ndarray:
        """Greedy for the next reward; at discount one a policy that surely ends."""
        if self.quotient is None:
            return self.model.backup(np.zeros(self.model.num_states), self.discount).argmax(axis=1)
        reduced = self.quotient.model
        return np.where(reduced.terminal, 0, towards_end(reduced, reduced.legal, reduced.leaks))

    def certified(self, values: np.ndarray, backed_up: np.ndarray) -> bool:
        """Whether `backed_up`, one optimal backup of `values`, is certified to the tolerance or to float64's floor."""
        if self.quotient is None:
            shift = shifts(self.model, self.discount, values, backed_up)
            width = shift.high - shift.low
            if width > max(self.tolerance, 2.5 * shift.floor):
                return False
            self.bounds = interval(self.model, backed_up, shift)
            return True
        change = float(np.abs(backed_up - values).max())
        noise = 4.0 * rounding(self.model, values, 1.0)
        if self.closeness == np.inf:
            self.closeness = max(np.sqrt(self.tolerance) * 1e-2, noise)
        if change > self.closeness:
            return False
        last = self.closeness <= noise
        self.closeness = max(self.closeness * 0.1, noise)
        reduced = self.quotient.model
        found = undiscounted.certify(reduced, undiscounted.proper_greedy(reduced, backed_up), self.tolerance)
        if found is None or (not last and (found[1] - found[0]).max() > self.tolerance):
            return False
        self.bounds = found
        return True

    def settle(self, values: np.ndarray, count: int) -> np.ndarray:
        """Sweep on from nearly exact `values` until they are certified."""
        while True:
            backed_up = self.model.backup(values, self.discount).max(axis=1)
            if self.certified(values, backed_up):
                return backed_up
            values, count = backed_up, count + 1
            self.check(count)

    def check(self, count: int) -> None:
        """Raise `MDPError` where the iterations allowed are spent."""
        if count >= self.limit:
            raise MDPError(
                f"not certified to {self.tolerance} within {self.limit} iterations at discount {self.discount}; raise "
                "max_iterations, or try policy_iteration or krylov_policy_iteration"
            )

    def finish(self, values: np.ndarray, iterations: int, method: str) -> Solution:
        """The solution, after `certified` said yes to `values`."""
        assert self.bounds is not None
        lower, upper = self.bounds
        if self.quotient is None:
            values = 0.5 * (lower + upper)
            action_values = self.whole.backup(values, self.discount)
            policy = action_values.argmax(axis=1)
        else:
            merged = self.quotient.merged
            values = np.clip(values, lower, upper)
            policy = self.quotient.lift(undiscounted.proper_greedy(self.quotient.model, values))
            values, lower, upper = values[merged], lower[merged], upper[merged]
            action_values = self.whole.backup(values, 1.0)
        seconds = time.perf_counter() - self.began
        policy = np.where(self.whole.terminal, 0, policy)
        return Solution(
            values, action_values, policy, lower, upper, iterations, seconds, method, self.discount,
            problem=self.problem,
        )  # fmt: skip


def model_of(mdp: Any) -> Model:
    """The model that solvers iterate on."""
    return mdp.collapsed if isinstance(mdp, MDP) else mdp


def prepare(mdp: Any, discount: float | None, tolerance: float, limit: int, default: float | None = None) -> Task:
    """Check the question and choose the model. Raises `MDPError` where it has no sound answer."""
    began = time.perf_counter()
    discount = check_discount(discount, getattr(mdp, "discount", default))
    if not tolerance > 0:
        raise MDPError(f"tolerance {tolerance} is not positive")
    model = model_of(mdp)
    quotient = None if contracts(model, discount) else undiscounted.reduce(model.collapsed)
    reduced = quotient.model if quotient else model
    return Task(model, reduced, discount, tolerance, limit, quotient, began, problem=mdp)
