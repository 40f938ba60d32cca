"""Asynchronous dynamic programming: values are overwritten in place, in an order that carries news far."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

from operant.finite import kernels
from operant.finite.bounds import contraction, rounding
from operant.finite.collapse import Collapsed, Model
from operant.finite.solution import Solution
from operant.finite.structured import MoveMDP
from operant.finite.task import Problem, Task, prepare

PARTS = 16  # blocks of states in a sweep without numba; news crosses that many blocks in one sweep
WINDOW = 1 << 16  # states of a window: small enough for the cache, wide enough for many steps of a path
REPEATS = 64  # the most sweeps of a window before the next


def gauss_seidel(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**6
) -> Solution:
    """Gauss-Seidel value iteration in goal order (Sutton & Barto, 2nd ed., section 4.5).

    With numba, states are visited singly by their distance from an end, and a window of them is swept until it
    settles before the next, half a window on: what flows back against the order dies out within a few steps, so few
    passes over the whole are needed. States are renumbered in that order, so that a window is read from memory in one
    piece, and a state's moves to itself are solved for. Without numba, or for a `FunctionMDP`, blocks of consecutive
    states are updated one after the other. Deterministic either way; `iterations` counts passes. An ordinary backup of
    the problem as it was given certifies the result.
    """
    task = prepare(mdp, discount, tolerance, max_iterations)
    order, windows = _windows(task.model, task.discount)
    found = _pessimistic(task)
    values, count, patience = found[order], 0, 1.0
    while True:
        # Values rise by at most this where a backup would certify them, were every state to change alike.
        target = max(task.tolerance * (1.0 - task.discount), 4.0 * rounding(task.model, values, task.discount))
        change = 0.0
        for sweep in windows if count % 2 == 0 else reversed(windows):
            moved = sweep(values)
            change = max(change, moved)
            for _ in range(REPEATS - 1):
                if moved <= 0.1 * target:
                    break
                moved = sweep(values)
        count += 1
        if change <= target * patience or task.quotient is not None:
            found[order] = values
            backed_up = task.model.backup(found, task.discount).max(axis=1)
            if task.certified(found, backed_up):
                return task.finish(backed_up, count, "gauss_seidel")
            patience *= 0.5
        task.check(count)


def _pessimistic(task: Task) -> np.ndarray:
    """Values that no backup lowers, so that sweeps only raise them and settled states near an end draw others along.

    From optimistic values every state would first have to learn, step by step, that it is far from an end.
    """
    model, values = task.model, np.zeros(task.model.num_states)
    if task.quotient is None:
        worst = float(model.backup(values, task.discount).max(axis=1).min())
        values[~model.terminal] = min(worst, 0.0) / (1.0 - contraction(model, task.discount)[1])
    return values


def _windows(model: Model, discount: float) -> tuple[np.ndarray | slice, list[Callable[[np.ndarray], float]]]:
    """The order of the states, and functions of the values in that order.

    Each sweeps one window of the values in place and returns the largest change.
    """
    order_states = kernels.compiled(kernels.goal_order)
    if order_states is None or not isinstance(model, MoveMDP | Collapsed):
        edges = np.unique(np.linspace(0, model.num_states, PARTS + 1).astype(int)).tolist()
        return slice(None), [partial(_block, model, discount, first, last) for first, last in pairwise(edges)]
    if isinstance(model, MoveMDP):
        edges = model.successors.reshape(-1)
        starts = np.arange(0, edges.size + 1, model.successors.shape[1])
        order = order_states(starts, edges, 1, model.terminal)
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=order.dtype)
        rewards = model.rewards if len(model.rewards) == 1 else model.rewards[order]
        arguments = (place[model.successors[order]], model.mix, rewards, model.terminal[order], discount)
        kernel = kernels.compiled(kernels.sweep_moves)
    else:
        matrix, actions = model.transitions, model.num_actions
        ending = model.terminal | model.leaks.reshape(-1, actions).any(axis=1)
        order = order_states(matrix.indptr, matrix.indices, actions, ending)
        renumber, kernel = kernels.compiled(kernels.renumbered), kernels.compiled(kernels.sweep_sparse)
        assert renumber is not None
        rows = renumber(order, matrix.indptr, matrix.indices, matrix.data, model.rewards, actions, discount)
        arguments = (*rows, actions)
    assert kernel is not None  # numba is there: it compiled the order
    size = model.num_states
    firsts = range(0, max(size - WINDOW // 2, 1), WINDOW // 2)
    return order, [partial(kernel, first, min(first + WINDOW, size), *arguments) for first in firsts]


def _block(model: Model, discount: float, first: int, last: int, values: np.ndarray) -> float:
    new = model.part(first, last, values, discount).max(axis=1)
    change = float(np.abs(new - values[first:last]).max())
    values[first:last] = new
    return change


def prioritised_sweeping(
    mdp: Problem, discount: float | None = None, tolerance: float = 1e-9, *, max_iterations: int = 10**9
) -> Solution:
    """Back up the state whose value may be most wrong, then queue its predecessors (Moore & Atkeson 1993).

    `iterations` counts single-state backups. Compiled where numba is installed; plain Python suits thousands of states.
    """
    task = prepare(mdp, discount, tolerance, max_iterations)
    model = task.model.collapsed
    run = kernels.compiled(kernels.prioritised) or kernels.prioritised
    matrix, actions = model.transitions, model.num_actions
    before, sources = _predecessors(model)
    values, count = np.zeros(model.num_states), 0
    threshold = max(task.tolerance, 1e-3)
    while True:
        count += run(
            matrix.indptr, matrix.indices, matrix.data, model.rewards, model.terminal, before, sources, actions,
            task.discount, threshold, task.limit - count, values,
        )  # fmt: skip
        backed_up = model.backup(values, task.discount).max(axis=1)
        if task.certified(values, backed_up):
            return task.finish(backed_up, count, "prioritised_sweeping")
        values = backed_up
        threshold = max(threshold * 0.03, rounding(model, values, task.discount))
        task.check(count)


def _predecessors(model: Collapsed) -> tuple[np.ndarray, np.ndarray]:
    """Offsets `[S + 1]` and the states that lead to each state, once each."""
    matrix = model.transitions
    sources = np.repeat(np.arange(model.num_states), np.diff(matrix.indptr[:: model.num_actions]))
    pairs = np.unique(matrix.indices.astype(np.int64) * model.num_states + sources)
    targets, origins = np.divmod(pairs, model.num_states)
    return np.searchsorted(targets, np.arange(model.num_states + 1)), origins
