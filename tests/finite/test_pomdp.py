"""Partially observable problems: the tiger, and random ones against a search of all futures."""

import numpy as np
import pytest

from operant import finite
from operant.finite import envelope
from operant.finite.pomdp import qmdp, solve_pomdp


def tiger() -> finite.POMDP:
    """Kaelbling, Littman & Cassandra 1998, section 5: listen, open left, open right; the tiger is left or right."""
    transitions = np.full((2, 3, 2), 0.5)
    transitions[:, 0] = np.eye(2)
    rewards = np.array([[-1.0, -100.0, 10.0], [-1.0, 10.0, -100.0]])
    heard = np.full((3, 2, 2), 0.5)
    heard[0] = [[0.85, 0.15], [0.15, 0.85]]
    return finite.POMDP(finite.MDP.from_arrays(transitions, rewards, discount=0.95), heard)


def search(pomdp: finite.POMDP, weight: np.ndarray, steps: int, discount: float) -> float:
    """The best return of `steps` steps from an unnormalised belief, by trying everything."""
    if steps == 0:
        return 0.0
    rewards = pomdp.mdp.collapsed.backup(np.zeros(len(weight)), 0.0)
    return max(
        weight @ rewards[:, action]
        + discount * sum(search(pomdp, weight @ kernel, steps - 1, discount) for kernel in pomdp.joint[action])
        for action in range(pomdp.mdp.num_actions)
    )


def test_tiger_over_six_steps():
    pomdp = tiger()
    solution, upper = solve_pomdp(pomdp, horizon=6), qmdp(pomdp)
    for belief in ([0.5, 0.5], [0.9, 0.1], [0.03, 0.97]):
        exact = search(pomdp, np.array(belief), 6, 0.95)
        assert solution.value(np.array(belief)) == pytest.approx(exact, abs=1e-9)
        assert exact < (belief @ upper).max()
    assert solution.action(np.array([0.5, 0.5])) == 0 and solution.action(np.array([0.99, 0.01])) == 2


def test_belief_update():
    pomdp = tiger()
    belief = pomdp.update(np.array([0.5, 0.5]), 0, 0)
    np.testing.assert_allclose(belief, [0.85, 0.15], atol=1e-15)
    belief = pomdp.update(belief, 0, 0)
    np.testing.assert_allclose(belief, np.array([0.85**2, 0.15**2]) / (0.85**2 + 0.15**2), atol=1e-15)
    np.testing.assert_allclose(pomdp.update(belief, 1, 1), [0.5, 0.5], atol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_finite_horizons_against_exhaustive_search(seed):
    rng = np.random.default_rng(seed)
    terminal = [2] if seed % 2 else None
    mdp = finite.MDP.from_arrays(rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)), terminal=terminal)
    pomdp = finite.POMDP(mdp, rng.dirichlet(np.ones(2), (2, 3)))
    for horizon in (1, 2, 4):
        solution = solve_pomdp(pomdp, 0.9, horizon=horizon)
        for belief in rng.dirichlet(np.ones(3), 5):
            assert solution.value(belief) == pytest.approx(search(pomdp, belief, horizon, 0.9), abs=1e-9)


def test_seeing_everything_is_the_mdp():
    rng = np.random.default_rng(7)
    mdp = finite.MDP.from_arrays(rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)))
    pomdp = finite.POMDP(mdp, np.broadcast_to(np.eye(3), (2, 3, 3)))
    solution, exact = solve_pomdp(pomdp, 0.5, 1e-6), finite.value_iteration(mdp, 0.5).values
    for state in range(3):
        assert solution.value(np.eye(3)[state]) == pytest.approx(exact[state], abs=solution.error + 1e-9)


def test_the_endless_tiger():
    """Kaelbling et al. 1998, figure 16: nine vectors at γ = .75; at .95 the literature gives 19.37 from ignorance."""
    pomdp, middle = tiger(), np.array([0.5, 0.5])
    coarse, fine = solve_pomdp(pomdp, 0.75, 1e-3), solve_pomdp(pomdp, 0.75, 1e-5)
    assert len(fine.vectors) == 9  # tighter tolerances may keep near-duplicates of them
    assert coarse.error <= 1e-3 and fine.error <= 1e-5
    assert fine.value(middle) == pytest.approx(1.933439, abs=1.1e-5)
    steps = solve_pomdp(pomdp, 0.75, horizon=20)
    for chance in np.linspace(0, 1, 101):
        belief = np.array([chance, 1 - chance])
        assert abs(coarse.value(belief) - fine.value(belief)) <= coarse.error + fine.error
        # What follows 20 steps is worth between -100 and 10 a step.
        assert -100.1 <= (fine.value(belief) - steps.value(belief)) * (1 - 0.75) / 0.75**20 <= 10.1
        assert fine.value(belief) <= (belief @ qmdp(pomdp, 0.75)).max()
    solution = solve_pomdp(pomdp, 0.95, 1e-4)
    assert solution.error <= 1e-4 and solution.value(middle) == pytest.approx(19.37137, abs=2e-4)


def test_three_states_for_ever_by_linear_programs():
    rng = np.random.default_rng(3)
    mdp = finite.MDP.from_arrays(rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)))
    pomdp = finite.POMDP(mdp, rng.dirichlet(np.ones(2), (2, 3)))
    solution, bound = solve_pomdp(pomdp, 0.5, 0.02), np.abs(mdp.rewards).max()
    assert solution.error <= 0.02
    for belief in rng.dirichlet(np.ones(3), 5):
        rest = 0.5**8 * bound / (1 - 0.5)
        assert abs(solution.value(belief) - search(pomdp, belief, 8, 0.5)) <= rest + solution.error


@pytest.mark.parametrize("size", [2, 4])
def test_envelopes_lose_no_more_than_they_say(size):
    rng = np.random.default_rng(size)
    vectors = np.concatenate([rng.normal(size=(40, size)), np.eye(size) * 2.5])
    vectors = np.concatenate([vectors, vectors + 1e-4 * rng.random(vectors.shape)])
    beliefs = rng.dirichlet(np.ones(size), 20_000)
    best = (beliefs @ vectors.T).max(axis=1)
    for slack in (1e-12, 1e-3):
        kept, lost = envelope.prune(vectors, slack)
        gone = float((best - (beliefs @ vectors[kept].T).max(axis=1)).max())
        assert gone <= lost + 1e-12 and lost <= 2 * slack + 1e-12
        useful = np.unique((beliefs @ vectors.T).argmax(axis=1))
        assert slack == 1e-3 or set(useful) <= set(kept)
    below = vectors[kept] - 0.25 * rng.random((len(kept), 1))
    most = float(((beliefs @ vectors.T).max(axis=1) - (beliefs @ below.T).max(axis=1)).max())
    assert most - 1e-12 <= envelope.excess(vectors, below) <= most + 0.05


def test_what_cannot_be_is_refused():
    pomdp = tiger()
    with pytest.raises(ValueError, match="state 1, action 0: observation probabilities"):
        finite.POMDP(pomdp.mdp, np.where(np.arange(6).reshape(3, 2, 1) == 1, 0.6, 0.5) * np.ones(2))
    with pytest.raises(finite.MDPError, match="discount 1 needs a horizon"):
        solve_pomdp(pomdp, 1.0)
    blind = finite.POMDP(pomdp.mdp, np.broadcast_to([1.0, 0.0], (3, 2, 2)))
    with pytest.raises(finite.MDPError, match="observation 1 has probability zero"):
        blind.update(np.array([0.5, 0.5]), 0, 1)
