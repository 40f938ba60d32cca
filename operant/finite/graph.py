"""The graph under a finite MDP: who can reach an end, and where one can stay for ever."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from operant.finite.collapse import Collapsed


def entry_rows(model: Collapsed) -> np.ndarray:
    """The row `[nnz]` (state * A + action) of each stored transition."""
    return np.repeat(np.arange(model.num_states * model.num_actions), np.diff(model.transitions.indptr))


def towards_end(model: Collapsed, allowed: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A policy `[S]` of `allowed` rows that reaches a row of `ends` with probability one; -1 where none can.

    Both are bool `[S * A]`. Each action taken leads, with positive probability, one step nearer in a breadth-first
    tree, so no set of states is closed under the policy: ties broken this way are proper.
    """
    states, actions = model.num_states, model.num_actions
    rows, sink = entry_rows(model), states
    used = allowed[rows]
    ending = np.flatnonzero(allowed & ends)
    sources = np.concatenate([rows[used] // actions, ending // actions])
    targets = np.concatenate([model.transitions.indices[used], np.full(len(ending), sink)])
    backwards = sparse.csr_array((np.ones(len(sources), np.int8), (targets, sources)), shape=(states + 1, states + 1))
    _, nearer = csgraph.breadth_first_order(backwards, sink, directed=True, return_predecessors=True)
    policy = np.full(states, -1)
    step = used & (model.transitions.indices == nearer[rows // actions])
    # Written in reverse, so that the first such action of a state is the one that stays.
    policy[rows[step][::-1] // actions] = rows[step][::-1] % actions
    last = ending[nearer[ending // actions] == sink][::-1]
    policy[last // actions] = last % actions
    return policy


def end_components(model: Collapsed, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximal end components of the `allowed` rows (de Alfaro 1997).

    Returns a label for each state `[S]`, -1 outside, and the rows bool `[S * A]` that stay inside one.
    """
    states, actions = model.num_states, model.num_actions
    inside = allowed & model.legal & ~model.leaks
    rows, targets = entry_rows(model), model.transitions.indices
    while True:
        used = inside[rows]
        edges = sparse.csr_array(
            (np.ones(int(used.sum()), np.int8), (rows[used] // actions, targets[used])), shape=(states, states)
        )
        labels = csgraph.connected_components(edges, directed=True, connection="strong")[1]
        leaving = np.zeros_like(inside)
        leaving[rows[used & (labels[rows // actions] != labels[targets])]] = True
        if not leaving.any():
            break
        inside &= ~leaving
    member = inside.reshape(states, actions).any(axis=1)
    return np.where(member, labels, -1), inside
