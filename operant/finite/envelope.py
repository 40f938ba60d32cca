"""Upper envelopes of vectors over beliefs, v(b) = max_i α_i·b, with every loss bounded rigorously.

Vectors that are best nowhere are found by walking along the envelope where there are two states, by linear programs
(Lark's filter; Cassandra, Littman & Zhang 1997) where there are more. A program's answer is never trusted: by weak
duality any convex combination λ of other vectors shows that α exceeds them by at most max_s (α - λ·others)_s.
"""

import numpy as np

from operant.finite.validation import MDPError

SAMPLES = 64  # beliefs for each state at which the best vectors are kept without a program


def prune(vectors: np.ndarray, slack: float) -> tuple[np.ndarray, float]:
    """Indices of vectors `[N, S]` that make up the envelope but for about `slack`, and a bound on what was lost."""
    _, first = np.unique(vectors, axis=0, return_index=True)
    if vectors.shape[1] == 1:
        return np.array([int(vectors.argmax())]), 0.0
    if vectors.shape[1] > 2:
        return _filter(vectors, first, slack)
    kept, corners = _walk(vectors[first], slack)
    lost = (vectors @ corners.T).max(axis=0) - (vectors[first[kept]] @ corners.T).max(axis=0)
    return first[kept], float(lost.max())


def excess(vectors: np.ndarray, others: np.ndarray) -> float:
    """A bound on the most, over all beliefs, by which the envelope of `vectors` exceeds that of `others`."""
    size = vectors.shape[1]
    if size == 1:
        return float(vectors.max() - others.max())
    if size == 2:
        # Between corners of the second envelope the difference is convex, so it is greatest at one of them.
        _, corners = _walk(others, 0.0)
        return float(((vectors @ corners.T).max(axis=0) - (others @ corners.T).max(axis=0)).max())
    return max(_advantage(vector, others)[0] for vector in vectors)


def roughly(vectors: np.ndarray, others: np.ndarray) -> float:
    """The largest difference of two envelopes at some sample of beliefs: no more than the true one."""
    beliefs = _samples(vectors.shape[1])
    return float(np.abs((beliefs @ vectors.T).max(axis=1) - (beliefs @ others.T).max(axis=1)).max())


def _walk(vectors: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """The lines on the envelope from belief (1, 0) to (0, 1), and the beliefs `[K + 1, 2]` at its corners.

    Lines that nowhere rise over their neighbours by more than `slack` are left out.
    """
    start, slope = vectors[:, 0], vectors[:, 1] - vectors[:, 0]
    exact = [int(np.lexsort((slope, start))[-1])]
    while True:
        steeper = np.flatnonzero(slope > slope[exact[-1]])
        crossings = (start[exact[-1]] - start[steeper]) / (slope[steeper] - slope[exact[-1]])
        if not crossings.size or crossings.min() >= 1.0:
            break
        nearest = steeper[crossings == crossings.min()]
        exact.append(int(nearest[slope[nearest].argmax()]))
    kept, places, before = [exact[0]], [0.0], 0
    for place in range(1, len(exact)):
        last, here = kept[-1], exact[place]
        following = exact[min(place + 1, len(exact) - 1)]
        crossing = (start[last] - start[following]) / (slope[following] - slope[last])
        between = exact[before + 1 : place + 1]
        risen = float((start[between] + slope[between] * crossing).max()) - (start[last] + slope[last] * crossing)
        if place == len(exact) - 1 or risen > slack:
            places.append(float(np.clip((start[last] - start[here]) / (slope[here] - slope[last]), 0.0, 1.0)))
            kept.append(here)
            before = place
    weight = np.array([*places, 1.0])
    return np.array(kept), np.column_stack([1.0 - weight, weight])


def _filter(vectors: np.ndarray, first: np.ndarray, slack: float) -> tuple[np.ndarray, float]:
    # What another vector beats in every state needs no linear program.
    unique = vectors[first]
    order = np.argsort(-unique.sum(axis=1))
    front: list[int] = []
    for i in order.tolist():
        if not front or not (unique[front] >= unique[i]).all(axis=1).any():
            front.append(i)
    candidates = first[front]
    kept = np.unique(candidates[(vectors[candidates] @ _samples(vectors.shape[1]).T).argmax(axis=0)]).tolist()
    waiting, lost = [i for i in candidates.tolist() if i not in kept], 0.0
    while waiting:
        gain, belief = _advantage(vectors[waiting[0]], vectors[kept])
        if gain <= slack:
            waiting.pop(0)
            lost = max(lost, gain)
        else:
            kept.append(waiting.pop(int((vectors[waiting] @ belief).argmax())))
    return np.array(sorted(kept)), lost


def _samples(size: int) -> np.ndarray:
    corners, inside = np.eye(size), np.random.default_rng(0).dirichlet(np.ones(size), SAMPLES * size)
    return np.concatenate([corners, inside])


def _advantage(vector: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray]:
    """A bound on how far `vector` exceeds all `others` at any belief, and a belief where it nearly does."""
    from scipy.optimize import linprog

    size = len(vector)
    result = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack([others - vector, np.ones(len(others))]),
        b_ub=np.zeros(len(others)),
        A_eq=np.append(np.ones(size), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * size + [(None, None)],
        method="highs",
    )
    if not result.success:
        raise MDPError(f"HiGHS found no belief: {result.message}")
    weights = np.maximum(-result.ineqlin.marginals, 0.0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(others), 1.0 / len(others))
    return float((vector - weights @ others).max()), np.maximum(result.x[:-1], 0.0)
