"""Finite problems by name: Gymnasium's tables, the problems of this package, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.errors import OperantError, unknown
from operant.finite.toy_text import from_gymnasium, toy_text_names

if TYPE_CHECKING:
    from operant.finite.task import Problem

# Functions of `problems`, by the names of the command line.
PROBLEMS = (
    "bandit-testbed", "blackjack", "car-rental", "cliff", "dyna-maze", "gambler", "gridworld-4x4", "gridworld-5x5",
    "maximisation-bias", "maze", "random-walk", "sequence-alignment", "windy-grid",
)  # fmt: skip


def problem_names() -> list[str]:
    """What `problem` knows by name."""
    return [*toy_text_names(), *PROBLEMS]


def problem(name: str, **kwargs: Any) -> Problem:
    """The finite problem called `name`: a Gymnasium id with a table, one of `PROBLEMS`, or a file of `MDP.save`.

    `kwargs` go to the environment or to the problem's function. Raises `OperantError` for an unknown name, and for
    arguments that do not fit.
    """
    if name not in problem_names():
        if not Path(name).is_file():
            raise unknown("finite problem", name, problem_names())
        if kwargs:
            raise OperantError(f"{name} is a file, which takes no arguments: {', '.join(kwargs)}")
        from operant.finite.mdp import MDP

        return MDP.load(name)
    try:
        if name not in PROBLEMS:
            return from_gymnasium(name, **kwargs)
        from operant.finite import problems

        return getattr(problems, name.replace("-", "_"))(**kwargs)
    except OperantError:
        raise
    except Exception as error:
        told = str(error).strip().partition("\n")[0]
        raise OperantError(f"{name} could not be made: {type(error).__name__}: {told}") from error
