"""Sequential loops, compiled by numba where it is installed. Everything works, more slowly, where it is not.

Each kernel is plain Python over arrays; `compiled` returns it compiled. A sweep visits the states
from `first` to `last - 1`, updates `values` in place, and returns the largest change.
"""

from collections.abc import Callable
from functools import cache
from heapq import heappop, heappush

import numpy as np


@cache
def compiled(kernel: Callable) -> Callable | None:
    """`kernel` compiled to machine code, or None where numba is not installed."""
    try:
        import numba  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return numba.njit(cache=True, nogil=True)(kernel)


def renumbered(order, indptr, indices, data, rewards, num_actions, discount):
    """The rows of a `Collapsed` model as `sweep_sparse` reads them: states in the order of `order`, discounted.

    Where action a may stay in s, v(s) = r + γ p(s|s,a) v(s) + ... is solved for v(s): one sweep does what many would.
    """
    place = np.empty_like(order)
    for new in range(order.size):
        place[order[new]] = new
    starts = np.zeros(order.size * num_actions + 1, indptr.dtype)
    targets = np.empty_like(indices)
    weights = np.empty_like(data)
    earned = np.empty_like(rewards)
    end = 0
    for new in range(order.size):
        for action in range(num_actions):
            row = order[new] * num_actions + action
            first, staying = end, 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                target = place[indices[entry]]
                if target == new:
                    staying += discount * data[entry]
                else:
                    targets[end] = target
                    weights[end] = discount * data[entry]
                    end += 1
            row = new * num_actions + action
            starts[row + 1] = end
            if staying < 1.0:
                earned[row] = rewards[order[new] * num_actions + action] / (1.0 - staying)
                for entry in range(first, end):
                    weights[entry] /= 1.0 - staying
            else:
                earned[row] = -np.inf  # for ever, which has a price wherever that is asked
    return starts, targets[:end], weights[:end], earned


def sweep_sparse(first, last, starts, targets, weights, rewards, num_actions, values):
    """One Gauss-Seidel sweep of what `renumbered` returned."""
    largest = 0.0
    for state in range(first, last):
        best = -np.inf
        for row in range(state * num_actions, (state + 1) * num_actions):
            total = rewards[row]
            for entry in range(starts[row], starts[row + 1]):
                total += weights[entry] * values[targets[entry]]
            best = max(best, total)
        largest = max(largest, abs(best - values[state]))
        values[state] = best
    return largest


def sweep_moves(first, last, successors, mix, rewards, terminal, discount, values):
    """One Gauss-Seidel sweep of a `MoveMDP`, solved for v(s) where a move may stay in s."""
    largest = 0.0
    num_actions, num_moves = mix.shape
    moved, staying = np.empty(num_moves), np.empty(num_moves)
    for state in range(first, last):
        if terminal[state]:
            continue
        line = state if rewards.shape[0] > 1 else 0
        stays = False
        for move in range(num_moves):
            target = successors[state, move]
            moved[move] = rewards[line, move] if rewards.shape[1] > 1 else rewards[line, 0]
            staying[move] = 0.0
            if target == state:
                stays, staying[move] = True, discount
            else:
                moved[move] += discount * values[target]
        best = -np.inf
        for action in range(num_actions):
            total = 0.0
            for move in range(num_moves):
                total += mix[action, move] * moved[move]
            if stays:
                going = 1.0
                for move in range(num_moves):
                    going -= mix[action, move] * staying[move]
                total /= going
            best = max(best, total)
        largest = max(largest, abs(best - values[state]))
        values[state] = best
    return largest


def goal_order(indptr, indices, per_state, first):
    """States by breadth-first distance to those marked `first`, along edges backwards; unreached ones last.

    The edges of state s are `indices[indptr[s * per_state]:indptr[(s + 1) * per_state]]`.
    """
    num_states = first.size
    before = np.zeros(num_states + 1, np.int64)
    for entry in range(indices.size):
        before[indices[entry] + 1] += 1
    for state in range(num_states):
        before[state + 1] += before[state]
    fill = before[:-1].copy()
    sources = np.empty(indices.size, np.int32)
    for state in range(num_states):
        for entry in range(indptr[state * per_state], indptr[(state + 1) * per_state]):
            sources[fill[indices[entry]]] = state
            fill[indices[entry]] += 1
    order = np.empty(num_states, np.int32)
    seen = first.copy()
    tail = 0
    for state in range(num_states):
        if first[state]:
            order[tail] = state
            tail += 1
    head = 0
    while head < tail:
        for entry in range(before[order[head]], before[order[head] + 1]):
            source = sources[entry]
            if not seen[source]:
                seen[source] = True
                order[tail] = source
                tail += 1
        head += 1
    for state in range(num_states):
        if not seen[state]:
            order[tail] = state
            tail += 1
    return order


def prioritised(
    indptr, indices, data, rewards, terminal, before, sources, num_actions, discount, threshold, limit, values
):
    """Back up the state of largest Bellman error until none exceeds `threshold`; returns how many were backed up.

    Moore & Atkeson 1993. `sources[before[s]:before[s + 1]]` are the states from which s can be reached.
    """
    num_states = terminal.size
    waiting = np.zeros(num_states)
    queue = [(0.0, 0)]
    for state in range(num_states):
        if not terminal[state]:
            waiting[state] = np.inf  # every state is backed up at least once
            heappush(queue, (-np.inf, state))
    count = 0
    while queue and count < limit:
        key, state = heappop(queue)
        if -key != waiting[state] or waiting[state] == 0.0:
            continue  # an older entry of a state that was queued again, or done
        waiting[state] = 0.0
        best = -np.inf
        for row in range(state * num_actions, (state + 1) * num_actions):
            total = 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                total += data[entry] * values[indices[entry]]
            best = max(best, rewards[row] + discount * total)
        change = abs(best - values[state])
        values[state] = best
        count += 1
        for entry in range(before[state], before[state + 1]):
            source = sources[entry]
            # An upper bound on the error this change can cause there, added to what is waiting already.
            pending = waiting[source] + discount * change
            if pending > threshold and waiting[source] != np.inf:
                heappush(queue, (-pending, source))
            waiting[source] = pending
    return count
