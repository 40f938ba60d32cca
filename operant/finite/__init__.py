"""Finite Markov decision processes p(s', r | s, a), and solvers that are exact and say so with a certificate.

Names are imported when they are first used; nothing here needs JAX, and numba only makes sweeps faster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operant.finite import problems
    from operant.finite.average import relative_value_iteration
    from operant.finite.functional import FunctionMDP
    from operant.finite.horizon import backward_induction
    from operant.finite.iteration import (
        modified_policy_iteration,
        policy_evaluation,
        policy_iteration,
        value_iteration,
    )
    from operant.finite.linear import krylov_policy_iteration, linear_programming
    from operant.finite.mdp import MDP
    from operant.finite.methods import random_policy, solve
    from operant.finite.named import problem
    from operant.finite.pomdp import POMDP
    from operant.finite.solution import Solution
    from operant.finite.structured import MoveMDP
    from operant.finite.sweeps import gauss_seidel, prioritised_sweeping
    from operant.finite.toy_text import from_gymnasium
    from operant.finite.validation import MDPError

_HOMES = {
    "MDP": "mdp",
    "POMDP": "pomdp",
    "FunctionMDP": "functional",
    "MDPError": "validation",
    "MoveMDP": "structured",
    "Solution": "solution",
    "backward_induction": "horizon",
    "from_gymnasium": "toy_text",
    "gauss_seidel": "sweeps",
    "krylov_policy_iteration": "linear",
    "linear_programming": "linear",
    "modified_policy_iteration": "iteration",
    "policy_evaluation": "iteration",
    "policy_iteration": "iteration",
    "prioritised_sweeping": "sweeps",
    "problem": "named",
    "random_policy": "methods",
    "relative_value_iteration": "average",
    "solve": "methods",
    "value_iteration": "iteration",
}

__all__ = [
    "MDP",
    "POMDP",
    "FunctionMDP",
    "MDPError",
    "MoveMDP",
    "Solution",
    "backward_induction",
    "from_gymnasium",
    "gauss_seidel",
    "krylov_policy_iteration",
    "linear_programming",
    "modified_policy_iteration",
    "policy_evaluation",
    "policy_iteration",
    "prioritised_sweeping",
    "problem",
    "problems",
    "random_policy",
    "relative_value_iteration",
    "solve",
    "value_iteration",
]


def __getattr__(name: str) -> Any:
    if name == "problems":
        return import_module("operant.finite.problems")
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(f"operant.finite.{_HOMES[name]}"), name)
        return value
    raise AttributeError(f"module 'operant.finite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
