"""What the solvers are tested against: exact rational arithmetic, and generators of awkward random problems."""

from fractions import Fraction

import numpy as np

from operant import finite

DISCOUNTED = (
    finite.value_iteration,
    finite.policy_iteration,
    finite.modified_policy_iteration,
    finite.gauss_seidel,
    finite.prioritised_sweeping,
    finite.linear_programming,
    finite.krylov_policy_iteration,
)
EXACT = (finite.policy_iteration, finite.linear_programming, finite.krylov_policy_iteration)


def random_mdp(rng: np.random.Generator, kind: str, num_states: int, num_actions: int) -> finite.MDP:
    """Sparse random dynamics. Kinds: "ergodic", "reducible", "periodic", "terminal", "flags", "illegal"."""
    table: list[list[list[tuple[float, int, float, bool]]]] = []
    terminal = [num_states - 1] if kind == "terminal" else []
    half = max(num_states // 2, 1)
    for state in range(num_states):
        rows = []
        for action in range(num_actions):
            if kind == "reducible":  # two halves that never meet
                low, high = (0, half) if state < half else (half, num_states)
                pool = np.arange(low, high)
            elif kind == "periodic":
                pool = np.array([(state + 1) % num_states])
            else:
                pool = np.arange(num_states)
            targets = rng.choice(pool, size=min(len(pool), int(rng.integers(1, 4))), replace=False)
            chances = rng.dirichlet(np.ones(len(targets)))
            ends = rng.random(len(targets)) < (0.3 if kind == "flags" else 0.0)
            rewards = rng.normal(size=len(targets)) * 10.0 ** rng.integers(-2, 3)
            row = list(zip(chances.tolist(), targets.tolist(), rewards.tolist(), ends.tolist(), strict=True))
            rows.append([] if kind == "illegal" and action and rng.random() < 0.5 else row)
        table.append(rows)
    return finite.MDP.from_function(num_states, num_actions, lambda s, a: table[s][a], terminal=terminal)


def _solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    size = len(right)
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column and rows[row][column] != 0:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[row][size] / rows[row][row] for row in range(size)]


def rational_values(mdp: finite.MDP, discount: float, policy: np.ndarray) -> list[Fraction]:
    """v* of the stored numbers without any rounding: Howard's iteration in fractions, from `policy`."""
    gamma, choice = Fraction(discount), [int(action) for action in policy]
    outcomes = {
        (state, action): [(Fraction(p), t, Fraction(r), end) for p, t, r, end in mdp.outcomes(state, action)]
        for state in range(mdp.num_states)
        for action in range(mdp.num_actions)
        if mdp.legal[state, action]
    }

    def worth(state: int, action: int, values: list[Fraction]) -> Fraction:
        return sum(
            (p * (r + (0 if end else gamma * values[t])) for p, t, r, end in outcomes[state, action]), Fraction()
        )

    while True:
        matrix = [[Fraction(int(i == j)) for j in range(mdp.num_states)] for i in range(mdp.num_states)]
        right = [Fraction()] * mdp.num_states
        for state in np.flatnonzero(~mdp.terminal).tolist():
            for p, t, r, end in outcomes[state, choice[state]]:
                right[state] += p * r
                if not end:
                    matrix[state][t] -= gamma * p
        values = _solve(matrix, right)
        stable = True
        for state, action in outcomes:
            if worth(state, action, values) > worth(state, choice[state], values):
                choice[state], stable = action, False
        if stable:
            return values


def soft(mdp: finite.MDP, epsilon: float) -> finite.MDP:
    """The problem whose optimum is the best epsilon-soft policy: with chance epsilon the action is drawn anew."""

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        mixed = [((1 - epsilon) * p, t, r, end) for p, t, r, end in mdp.outcomes(state, action)]
        for other in range(mdp.num_actions):
            mixed += [(epsilon / mdp.num_actions * p, t, r, end) for p, t, r, end in mdp.outcomes(state, other)]
        return mixed

    return finite.MDP.from_function(
        mdp.num_states, mdp.num_actions, outcomes, terminal=mdp.terminal, discount=mdp.discount, start=mdp.start
    )
