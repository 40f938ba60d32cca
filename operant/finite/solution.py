"""What every solver returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Solution:
    """Values with a certificate: `lower <= v* <= upper` holds in every state, rounding included.

    Finite-horizon solutions carry a leading time axis H on everything (`values`, `lower` and `upper` have H + 1).
    For average reward `values` are relative (zero in the first state), `gain` is the reward per step, and `lower`
    and `upper` bound that gain. `policy` is 0 in terminal states, where no action exists.
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

    @property
    def advantages(self) -> np.ndarray:
        """How much better each action is than the policy: `action_values - values`, shaped as `action_values`."""
        steps = len(self.action_values)
        return self.action_values - self.values[:steps, ..., None]

    @property
    def gap(self) -> float:
        """The widest certified interval, `max(upper - lower)`."""
        return float((self.upper - self.lower).max())
