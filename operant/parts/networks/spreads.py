"""How far continuous actions spread around their mean: recipes for a policy's log standard deviation."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Independent:
    """One learned number for each dimension, the same in every state (Schulman et al. 2015, appendix D)."""

    initial: float = 0.0  # log standard deviation at the start, in half ranges of the action


@dataclass(frozen=True)
class StateDependent:
    """An output of the policy's network for each dimension, kept within bounds; about 0 at the start."""

    low: float = -5.0  # least log standard deviation
    high: float = 2.0  # greatest log standard deviation


Spread: TypeAlias = Independent | StateDependent
