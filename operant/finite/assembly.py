"""From the forms in which people hold dynamics to the flat outcome arrays of `MDP`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from operant.finite.validation import MDPError, check_indices

BLOCK = 1 << 16  # state-action pairs handed to a vectorised function at once


def terminal_mask(terminal: Any, num_states: int) -> np.ndarray:
    """bool `[S]` from a mask, a list of state indices, or None."""
    if terminal is None:
        return np.zeros(num_states, dtype=bool)
    given = np.asarray(terminal)
    if given.dtype == bool:
        if given.shape != (num_states,):
            raise MDPError(f"terminal mask has shape {given.shape}, not ({num_states},)")
        return given
    mask = np.zeros(num_states, dtype=bool)
    if given.size:
        check_indices(given, num_states, "terminal state")
        mask[given] = True
    return mask


def triples(
    num_states: int, num_actions: int, columns: Sequence[Any], terminated: Any, terminal: Any
) -> dict[str, Any]:
    """Fields of `MDP` from columns (state, action, next state, probability, reward), sorted by state and action."""
    states, actions, next_states, probabilities, rewards = (np.atleast_1d(np.asarray(column)) for column in columns)
    ends = np.zeros(len(states), bool) if terminated is None else np.asarray(terminated, dtype=bool)
    lengths = {len(column) for column in (states, actions, next_states, probabilities, rewards, ends)}
    if len(lengths) != 1:
        raise MDPError(f"columns of different lengths: {sorted(lengths)}")
    check_indices(states, num_states, "state")
    check_indices(actions, num_actions, "action")
    check_indices(next_states, num_states, "next state")
    mask = terminal_mask(terminal, num_states)
    rows = states.astype(np.int64) * num_actions + actions
    if (np.diff(rows) >= 0).all() and not mask[states].any():
        order = slice(None)
    else:
        order = np.argsort(rows, kind="stable")
        order = order[~mask[states[order]]]
    counts = np.bincount(rows[order], minlength=num_states * num_actions)
    return {
        "num_states": num_states,
        "num_actions": num_actions,
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "probabilities": probabilities[order],
        "next_states": next_states[order],
        "rewards": rewards[order],
        "terminated": ends[order],
        "terminal": mask,
    }


def arrays(transitions: Any, rewards: Any, terminal: Any, legal: Any) -> dict[str, Any]:
    """Fields of `MDP` from P[s, a, s'] or a list of A matrices P[s, s'], and R[s, a] or R[s, a, s']."""
    if isinstance(transitions, np.ndarray):
        if transitions.ndim != 3 or transitions.shape[0] != transitions.shape[2]:
            raise MDPError(f"transitions have shape {transitions.shape}, not [S, A, S]")
        num_states, num_actions = transitions.shape[:2]
        states, actions, targets = np.nonzero(transitions)
        chances = transitions[states, actions, targets]
    else:
        from scipy import sparse

        matrices = [sparse.coo_array(matrix) for matrix in transitions]
        num_states, num_actions = int(matrices[0].shape[0]), len(matrices)  # type: ignore[index]
        for action, matrix in enumerate(matrices):
            if matrix.shape != (num_states, num_states):
                raise MDPError(f"action {action}: matrix of shape {matrix.shape}, not {(num_states, num_states)}")
        states = np.concatenate([matrix.row for matrix in matrices])
        actions = np.repeat(np.arange(num_actions), [matrix.nnz for matrix in matrices])
        targets = np.concatenate([matrix.col for matrix in matrices])
        chances = np.concatenate([matrix.data for matrix in matrices])
    pairs, mask = (num_states, num_actions), terminal_mask(terminal, num_states)
    allowed = np.ones(pairs, dtype=bool) if legal is None else np.asarray(legal, dtype=bool)
    rewards = np.asarray(rewards, dtype=float)
    if rewards.shape not in (pairs, (*pairs, num_states)) or allowed.shape != pairs:
        raise MDPError(
            f"rewards {rewards.shape} and legal {allowed.shape} do not fit {num_states} states, {num_actions} actions"
        )
    given = np.zeros(pairs, dtype=bool)
    given[states, actions] = True
    missing = allowed & ~given & ~mask[:, None]
    if missing.any():
        state, action = divmod(int(np.argmax(missing)), num_actions)
        raise MDPError(f"state {state}, action {action}: probabilities sum to 0, not to 1")
    keep = allowed[states, actions]
    states, actions, targets, chances = states[keep], actions[keep], targets[keep], chances[keep]
    earned = rewards[states, actions] if rewards.ndim == 2 else rewards[states, actions, targets]
    return triples(num_states, num_actions, (states, actions, targets, chances, earned), None, mask)


def function(num_states: int, num_actions: int, outcomes: Callable[[int, int], Any], terminal: Any) -> dict[str, Any]:
    """Fields of `MDP` from a function of one state and one action."""
    mask = terminal_mask(terminal, num_states)
    columns: list[tuple[int, int, int, float, float]] = []
    ends: list[bool] = []
    for state in np.flatnonzero(~mask).tolist():
        for action in range(num_actions):
            for probability, next_state, reward, terminated in outcomes(state, action):
                columns.append((state, action, next_state, probability, reward))
                ends.append(bool(terminated))
    if not columns:
        columns = [(np.zeros(0, dtype=int),) * 5]  # type: ignore[list-item]
        return triples(num_states, num_actions, columns[0], ends, mask)
    return triples(num_states, num_actions, tuple(zip(*columns, strict=True)), ends, mask)


def vectorised(num_states: int, num_actions: int, outcomes: Callable[..., Any], terminal: Any) -> dict[str, Any]:
    """Fields of `MDP` from a function of index arrays `[n]` that returns four arrays `[n, K]`."""
    mask = terminal_mask(terminal, num_states)
    rows = np.flatnonzero(np.repeat(~mask, num_actions))
    parts = []
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        states, actions = np.divmod(block, num_actions)
        chances, targets, rewards, ends = np.broadcast_arrays(*outcomes(states, actions))
        keep = chances != 0
        source = np.broadcast_to(block[:, None], chances.shape)[keep]
        parts.append(
            (source // num_actions, source % num_actions, targets[keep], chances[keep], rewards[keep], ends[keep])
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return triples(num_states, num_actions, columns[:5], columns[5], mask)
