"""Checks on finite models; every error names the state and the action, and nothing is silently put right."""

from collections.abc import Sequence

import numpy as np

from operant.errors import OperantError

SUM_TOLERANCE = 1e-9  # what float64 rounding can leave of a row that was meant to sum to one


class MDPError(OperantError, ValueError):
    """A finite model, or a question asked of one, that makes no sense; the message names the place."""


def check_discount(discount: float | None, default: float | None = None) -> float:
    """`discount`, or `default` where it is None; raises `MDPError` outside [0, 1]."""
    chosen = default if discount is None else discount
    if chosen is None:
        raise MDPError("this model has no discount of its own: give discount=, for instance 0.99")
    if not 0.0 <= chosen <= 1.0:  # also refuses NaN
        raise MDPError(f"discount {chosen} is outside [0, 1]")
    return float(chosen)


def check_indices(indices: np.ndarray, size: int, what: str) -> None:
    """Raise `MDPError` where an index array is not of integers in [0, size)."""
    if not np.issubdtype(indices.dtype, np.integer):
        raise MDPError(f"{what} must be integers, not {indices.dtype}")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        place = int(np.argmax((indices < 0) | (indices >= size)))
        raise MDPError(f"{what} {int(indices.flat[place])} at position {place} is outside 0..{size - 1}")


def check_distribution(probabilities: np.ndarray, what: str) -> None:
    """Raise `MDPError` where a vector is not a probability distribution."""
    bad = ~(probabilities >= 0)
    if bad.any():
        state = int(np.argmax(bad))
        raise MDPError(f"{what} of state {state} is {probabilities[state]}")
    if abs(probabilities.sum() - 1.0) > SUM_TOLERANCE:
        raise MDPError(f"{what} sum to {probabilities.sum():.12g}, not to 1")


def row_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sums `[rows]` of the ranges `offsets[i]:offsets[i + 1]` of a flat array; an empty range sums to zero."""
    sums = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(np.diff(offsets))
    if filled.size:
        sums[filled] = np.add.reduceat(values, offsets[filled])
    return sums


def check_outcomes(
    num_actions: int, offsets: np.ndarray, probabilities: np.ndarray, next_states: np.ndarray, rewards: np.ndarray
) -> np.ndarray:
    """Check flat outcome arrays; returns which rows `[S*A]` have any outcome at all.

    Raises `MDPError` on a NaN or negative probability, a reward that is not finite, a next state out of range,
    or a row whose probabilities do not sum to one.
    """
    num_states = (len(offsets) - 1) // num_actions

    def place(outcome: int) -> str:
        row = int(np.searchsorted(offsets, outcome, side="right")) - 1
        return f"state {row // num_actions}, action {row % num_actions}"

    lengths = {len(probabilities), len(next_states), len(rewards), int(offsets[-1])}
    if len(lengths) != 1:
        raise MDPError(f"outcome arrays of different lengths: {sorted(lengths)}")
    faults = (
        ("probability", probabilities, lambda x: ~(x >= 0)),
        ("reward", rewards, lambda x: ~np.isfinite(x)),
        ("next state", next_states, lambda x: (x < 0) | (x >= num_states)),
    )
    for what, values, wrong in faults:
        bad = wrong(values)
        if bad.any():
            outcome = int(np.argmax(bad))
            raise MDPError(f"{place(outcome)}: {what} {values[outcome]} is not allowed")
    filled = np.diff(offsets) > 0
    sums = row_sums(probabilities, offsets)
    bad = filled & ~(np.abs(sums - 1.0) <= SUM_TOLERANCE)
    if bad.any():
        row = int(np.argmax(bad))
        raise MDPError(
            f"state {row // num_actions}, action {row % num_actions}: probabilities sum to {sums[row]:.12g}, not to 1"
        )
    return filled


def check_labels(labels: Sequence[str] | None, size: int, what: str) -> tuple[str, ...] | None:
    """`labels` as a tuple; raises `MDPError` where their number is not `size`."""
    if labels is None:
        return None
    if len(labels) != size:
        raise MDPError(f"{len(labels)} {what} labels for {size} {what}s")
    return tuple(str(label) for label in labels)


def check_cells(cells: np.ndarray | None, size: int) -> np.ndarray | None:
    """`cells` as int32 `[size, 2]`; raises `MDPError` where they are not places on a grid, one for each state."""
    if cells is None:
        return None
    cells = np.asarray(cells)
    if cells.shape != (size, 2) or not np.issubdtype(cells.dtype, np.integer) or cells.min(initial=0) < 0:
        raise MDPError(
            f"cells of shape {cells.shape} and dtype {cells.dtype} are not rows and columns of {size} states"
        )
    return np.ascontiguousarray(cells, dtype=np.int32)
