"""What every solver returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Values with a certificate: `lower <= v* <= upper` holds in every state, rounding included.

    Finite-horizon solutions carry a leading time axis H on everything (`values`, `lower` and `upper` have H + 1).
    For average reward `values` are relative (zero in the first state), `gain` is the reward per step, and `lower`
    and `upper` bound that gain. `policy` is 0 in terminal states, where no action exists. Printing a solution draws
    it: values and policy as a grid where the states lie on one, as a table otherwise.
    """

    values: np.ndarray  # [S]
    action_values: np.ndarray  # [S, A], -inf where the action is not legal
    policy: np.ndarray  # int [S]; [S, A] probabilities where a stochastic policy was evaluated
    lower: np.ndarray  # [S]
    upper: np.ndarray  # [S]
    iterations: int  # of the method's own unit: sweeps, improvements, single-state backups, simplex pivots
    seconds: float
    method: str
    discount: float
    gain: float | None = None
    problem: Any = None  # the finite problem that was solved

    @property
    def advantages(self) -> np.ndarray:
        """How much better each action is than the policy: `action_values - values`, shaped as `action_values`."""
        steps = len(self.action_values)
        return self.action_values - self.values[:steps, ..., None]

    @property
    def gap(self) -> float:
        """The widest certified interval, `max(upper - lower)`."""
        return float((self.upper - self.lower).max())

    @property
    def start_value(self) -> float:
        """The value of an episode: `values` (of the first step) under the problem's start distribution."""
        from operant.finite.mdp import start_of

        values = self.values if self.values.ndim == 1 else self.values[0]
        return float(start_of(self.problem) @ values)

    def regret(self, agent: Any) -> float:
        """What `agent` loses per episode, exactly: `start_value` less the value of its greedy policy.

        `agent`: a trained agent, which is asked for its action in every state, or a policy as an array, actions `[S]`
        or probabilities `[S, A]`. Infinite where, at discount one, the policy need not end. Raises `MDPError` for an
        agent that sees something else than this problem's states, for an illegal action, and for average reward.
        """
        from operant.finite.regret import value_of

        return self.start_value - value_of(self, agent)

    def show(self) -> None:
        """Print the solution, for people."""
        print(self)

    def picture(self, path: str | Path) -> None:
        """Draw values and policy of a problem on a grid to a PNG. Raises `MDPError` where there is no grid."""
        from operant.finite.drawing import heat_map

        heat_map(self, Path(path))

    def __repr__(self) -> str:
        from operant.finite.drawing import text

        return text(self)
