"""Lower and upper bounds from one Bellman backup (MacQueen 1966; Puterman 1994, section 6.6.3).

If Tv >= v + m everywhere then T^k v >= T^(k-1) v + (γc)^(k-1) m, where c is the least probability of going on (the
greatest where m < 0), so v* >= Tv + γc m / (1 - γc); likewise from above. Rounding of the backup is added to m and M,
so that the interval holds the true v* of the stored numbers.
"""

from typing import NamedTuple

import numpy as np

from operant.finite.collapse import Model

UNIT = float(np.finfo(float).eps) / 2.0  # the relative error of one operation


class Shifts(NamedTuple):
    """`Tv + low <= v* <= Tv + high` in states that are not terminal."""

    low: float
    high: float
    floor: float  # the width that rounding alone costs: iterating further cannot do better


def rounding(model: Model, values: np.ndarray, discount: float) -> float:
    """A bound on the rounding error of one backup of `values`."""
    return UNIT * (model.width + 4) * (model.reward_bound + discount * float(np.abs(values).max(initial=0.0)))


def contraction(model: Model, discount: float) -> tuple[float, float]:
    """Least and greatest modulus γc, rounding included."""
    least, greatest = model.mass
    slack = UNIT * (model.width + 2)
    return discount * max(least - slack, 0.0), discount * (greatest + slack if greatest else 0.0)


def contracts(model: Model, discount: float) -> bool:
    """Whether every backup contracts in the maximum norm: discounted, or every step can be the last."""
    return contraction(model, discount)[1] < 1.0


def shifts(model: Model, discount: float, values: np.ndarray, backed_up: np.ndarray) -> Shifts:
    """MacQueen's interval around `backed_up`, one backup (optimal, or of a policy) of `values`."""
    least, greatest = contraction(model, discount)
    error = rounding(model, values, discount)
    change = backed_up - values
    change[model.terminal] = 0.0
    active = ~model.terminal
    low = float(np.min(change, where=active, initial=np.inf)) if active.any() else 0.0
    high = float(np.max(change, where=active, initial=-np.inf)) if active.any() else 0.0
    low, high = low - error, high + error
    low_rate = greatest if low < 0 else least
    high_rate = greatest if high > 0 else least
    low_shift = low * low_rate / (1.0 - low_rate) - error
    high_shift = high * high_rate / (1.0 - high_rate) + error
    return Shifts(low_shift, high_shift, 2.0 * error * (1.0 + greatest / (1.0 - greatest)))


def interval(model: Model, backed_up: np.ndarray, shift: Shifts) -> tuple[np.ndarray, np.ndarray]:
    """Arrays `(lower, upper)`, exactly zero in terminal states."""
    lower, upper = backed_up + shift.low, backed_up + shift.high
    lower[model.terminal] = 0.0
    upper[model.terminal] = 0.0
    return lower, upper
