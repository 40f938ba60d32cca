"""Building, checking and storing finite MDPs."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from operant import finite
from operant.errors import CheckpointError, OperantError

P = np.zeros((3, 2, 3))
P[0, 0], P[0, 1], P[1, 0], P[1, 1] = [0.5, 0.5, 0], [0, 0, 1], [0.2, 0, 0.8], [1, 0, 0]
R = np.arange(18.0).reshape(3, 2, 3)


def same(one: finite.MDP, two: finite.MDP) -> bool:
    return all(
        one.outcomes(s, a) == two.outcomes(s, a) for s in range(one.num_states) for a in range(one.num_actions)
    ) and np.array_equal(one.terminal, two.terminal)


def test_every_way_of_building_gives_the_same_problem():
    dense = finite.MDP.from_arrays(P, R, terminal=[2], discount=0.9)
    matrices = finite.MDP.from_arrays([sparse.csr_array(P[:, 0]), P[:, 1]], R, terminal=np.array([False, False, True]))
    s, a, t = np.nonzero(P)
    shuffled = np.random.default_rng(0).permutation(len(s))
    s, a, t = s[shuffled], a[shuffled], t[shuffled]
    order = np.lexsort((t, a, s))
    triples = finite.MDP.from_triples(3, 2, s, a, t, P[s, a, t], R[s, a, t], terminal=[2])
    sorted_triples = finite.MDP.from_triples(
        3, 2, s[order], a[order], t[order], P[s, a, t][order], R[s, a, t][order], terminal=[2]
    )

    def one(state, action):
        return [(P[state, action, k], k, R[state, action, k], False) for k in np.flatnonzero(P[state, action])]

    def many(states, actions):
        return P[states, actions], np.arange(3)[None], R[states, actions], np.zeros((1, 1), bool)

    function = finite.MDP.from_function(3, 2, one, terminal=[2])
    vectorised = finite.MDP.from_function(3, 2, many, terminal=[2], vectorised=True)
    assert all(same(dense, other) for other in (matrices, sorted_triples, function, vectorised))
    np.testing.assert_array_equal(dense.collapsed.rewards, triples.collapsed.rewards)
    free = finite.FunctionMDP(3, 2, many, terminal=[2])
    values = np.array([3.0, -1.0, 0.0])
    np.testing.assert_allclose(free.backup(values, 0.9), dense.collapsed.backup(values, 0.9), atol=1e-14)
    assert same(free.stored(), dense)


def test_collapsing_keeps_expected_rewards_and_drops_ends():
    mdp = finite.MDP.from_arrays(P, R, terminal=[2])
    assert mdp.collapsed.rewards.tolist() == [0.5, 5.0, 0.2 * 6 + 0.8 * 8, 9.0, 0.0, 0.0]
    np.testing.assert_array_equal(
        mdp.collapsed.transitions.toarray(), [[0.5, 0.5, 0], [0, 0, 0], [0.2, 0, 0], [1, 0, 0], [0] * 3, [0] * 3]
    )
    assert mdp.collapsed.leaks.tolist() == [False, True, True, False, False, False]
    assert mdp.outcomes(0, 1) == [(1.0, 2, 5.0, True)]


def test_terminal_values_are_zero_by_mask_and_not_by_luck():
    """Whatever the arrays say of a terminal state, and even where its values would be read."""
    mdp = finite.MDP.from_arrays(np.full((2, 1, 2), 0.5), np.full((2, 1), 7.0), terminal=[1])
    assert finite.value_iteration(mdp, 0.5).values.tolist() == pytest.approx([7 / (1 - 0.25), 0.0])
    assert finite.value_iteration(mdp, 0.5).upper[1] == finite.value_iteration(mdp, 0.5).lower[1] == 0.0


def test_a_terminated_outcome_ends_the_episode_wherever_it_leads():
    mdp = finite.MDP.from_function(1, 1, lambda s, a: [(0.25, 0, 1.0, True), (0.75, 0, 1.0, False)])
    assert finite.value_iteration(mdp, 1.0).values[0] == pytest.approx(4.0, abs=1e-9)


def test_save_and_load(tmp_path):
    labels = {"state_labels": ("a", "b", "c"), "action_labels": ("l", "r")}
    mdp = finite.MDP.from_arrays(P, R, terminal=[2], discount=0.9, start=[0.5, 0.5, 0], horizon=7, **labels)
    mdp.save(tmp_path / "p.safetensors")
    back = finite.MDP.load(tmp_path / "p.safetensors")
    assert same(mdp, back) and back.start.tolist() == [0.5, 0.5, 0]
    assert (back.discount, back.horizon, back.state_labels, back.action_labels) == (0.9, 7, *labels.values())
    (tmp_path / "q").write_bytes(b"not a file of tensors")
    for broken in ("q", "missing"):
        with pytest.raises(CheckpointError, match=broken):
            finite.MDP.load(tmp_path / broken)


def changed(place, value, array=P):
    copy = array.copy()
    copy[place] = value
    return copy


BAD = {
    "sum": (
        lambda: finite.MDP.from_arrays(changed((1, 0, 0), 0.3), R, terminal=[2]),
        "state 1, action 0: probabilities sum to 1.1",
    ),
    "float32": (
        lambda: finite.MDP.from_arrays(np.full((3, 1, 3), 1 / 3, np.float32), np.zeros((3, 1))),
        r"state 0, action 0: probabilities sum to 1\.0000000",
    ),
    "negative": (
        lambda: finite.MDP.from_arrays(changed((0, 0), [-0.5, 1.5, 0]), R, terminal=[2]),
        r"state 0, action 0: probability -0\.5",
    ),
    "nan chance": (
        lambda: finite.MDP.from_arrays(changed((0, 1, 2), np.nan), R, terminal=[2]),
        "state 0, action 1: prob",
    ),
    "nan reward": (
        lambda: finite.MDP.from_arrays(P, changed((1, 1, 0), np.nan, R), terminal=[2]),
        "state 1, action 1: reward nan",
    ),
    "infinite reward": (
        lambda: finite.MDP.from_arrays(P, changed((0, 1, 2), np.inf, R), terminal=[2]),
        "state 0, action 1: reward inf",
    ),
    "missing row": (lambda: finite.MDP.from_arrays(P, R), "state 2, action 0: probabilities sum to 0"),
    "next state": (
        lambda: finite.MDP.from_triples(2, 1, [0, 1], [0, 0], [0, 2], [1, 1], [0, 0]),
        "next state 2 at position 1",
    ),
    "function": (
        lambda: finite.MDP.from_function(2, 1, lambda s, a: [(1.0, 5 * s, 0.0, False)]),
        "next state 5 at position 1 is outside 0..1",
    ),
    "state": (lambda: finite.MDP.from_triples(2, 1, [0, -1], [0, 0], [0, 1], [1, 1], [0, 0]), "state -1 at position 1"),
    "action": (lambda: finite.MDP.from_triples(2, 1, [0, 1], [0, 1], [0, 1], [1, 1], [0, 0]), "action 1 at position 1"),
    "no action": (
        lambda: finite.MDP.from_triples(2, 1, [0], [0], [0], [1.0], [0]),
        "state 1 is not terminal and has no",
    ),
    "terminal": (lambda: finite.MDP.from_arrays(P, R, terminal=[3]), "terminal state 3"),
    "start": (
        lambda: finite.MDP.from_arrays(P, R, terminal=[2], start=[0.5, 0.4, 0]),
        "start probabilities sum to 0.9",
    ),
    "shape": (lambda: finite.MDP.from_arrays(P[:, :, :2], R), r"\(3, 2, 2\), not \[S, A, S\]"),
    "discount": (
        lambda: finite.MDP.from_arrays(P, R, terminal=[2], discount=1.5),
        r"discount 1\.5 is outside \[0, 1\]",
    ),
    "mix": (lambda: finite.MoveMDP(np.zeros((2, 2), int), [[0.5, 0.6]], 0.0), "every state, action 0"),
    "successor": (lambda: finite.MoveMDP(np.full((2, 1), 2), [[1.0]], 0.0), "successor 2 at position 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_the_place_named(case):
    build, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert isinstance(caught.value, OperantError)


@pytest.mark.parametrize("discount", [-0.1, 1.0001, float("nan")])
def test_discounts_outside_the_unit_interval_are_refused(discount):
    mdp = finite.MDP.from_arrays(P, R, terminal=[2])
    with pytest.raises(ValueError, match="outside"):
        finite.value_iteration(mdp, discount)
    with pytest.raises(ValueError, match="no discount of its own"):
        finite.value_iteration(mdp)


def test_policies_are_checked():
    mdp = finite.MDP.from_arrays(P, R, terminal=[2], legal=[[True, True], [True, False], [True, True]])
    for policy, message in {
        (0, 1, 0): "state 1: the policy takes action 1, which is not legal",
        (0, 2, 0): "state 1: the policy takes action 2",
    }.items():
        with pytest.raises(finite.MDPError, match=message):
            finite.policy_evaluation(mdp, np.array(policy), 0.9)
    with pytest.raises(finite.MDPError, match="state 1, action 1: policy probability"):
        finite.policy_evaluation(mdp, np.full((3, 2), 0.5), 0.9)
    with pytest.raises(finite.MDPError, match=r"state 0: policy probabilities sum to 0\.75"):
        finite.policy_evaluation(mdp, np.array([[0.5, 0.25], [1, 0], [0, 0]]), 0.9)


def test_importing_is_quick_and_needs_no_jax_or_numba():
    code = (
        "import sys, operant.finite as f; assert not {'scipy', 'jax', 'gymnasium'} & set(sys.modules); "
        "f.value_iteration(f.problems.gridworld_5x5()); assert not {'jax', 'numba', 'gymnasium'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
