"""Hints on scripted rows: each speaks once about what is sick, and about nothing else."""

import math

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from operant.core.hints import Hints, least_entropy

TWO, LINE = Discrete(2), Box(-1.0, 1.0, (3,), np.float32)
WELL = {"approximate_kl": 0.01, "explained_variance": 0.5, "entropy": 0.6}


def given(space, rows, seeds=1):
    """The hints of scripted rows, `(index of the row, hint)`; a row is one dict, or one for each seed."""
    hints, found = Hints(space, seeds), []
    for index, row in enumerate(rows):
        each = row if isinstance(row, list) else [row]
        steps = {"steps": 1000 * (index + 1)}
        found += [(index, hint) for hint in hints([steps | {"seed": k, **one} for k, one in enumerate(each)])]
    return found


def test_a_healthy_run_gives_none():
    improving = [WELL | {"episode_return": 10.0 * k, "entropy": 0.69 * 0.9**k} for k in range(100)]
    assert improving[-1]["entropy"] < least_entropy(TWO)  # it has stopped exploring, with success
    assert given(TWO, improving) == []
    assert given(TWO, [{"loss": 1.0, "episode_return": None}] * 50) == []  # an algorithm without any of these
    assert given(TWO, [dict.fromkeys(WELL)] * 50) == []  # nothing was measured


def test_a_policy_that_leaps_is_told_once():
    rows = [WELL] * 5 + [WELL | {"approximate_kl": 0.8}] * 30
    assert given(TWO, rows) == [(7, given(TWO, rows)[0][1])]
    hint = given(TWO, rows)[0][1]
    assert hint.startswith("hint: after 8,000 steps one window moves the policy by 0.8 nats") and "target_kl" in hint
    assert given(TWO, [WELL | {"approximate_kl": kl} for kl in [0.8, 0.8, 0.01] * 20]) == []


def test_values_worse_than_a_constant_for_long():
    worse = WELL | {"explained_variance": -0.2}
    ((index, hint),) = given(TWO, [worse] * 60)
    assert index == 19 and "explained_variance below 0" in hint
    ((index, hint),) = given(TWO, [worse | {"episode_return": 9.0}] * 60)
    assert index == 19
    # A solved task: every return is the same, and there is nothing left to explain.
    solved = [WELL | {"episode_return": 20.0}, *[worse | {"episode_return": 500.0}] * 60]
    assert given(TWO, solved) == []
    assert given(TWO, ([worse] * 19 + [WELL]) * 4) == []


def test_exploration_that_ended_before_anything_was_learned():
    stuck = WELL | {"entropy": 0.001, "episode_return": 9.0}
    ((index, hint),) = given(TWO, [WELL | {"episode_return": 9.3}] * 10 + [stuck] * 60)
    assert index == 14 and "hardly explores any more (entropy 0.001)" in hint and "entropy_coefficient" in hint
    assert given(TWO, [WELL | {"episode_return": 9.3}] + [stuck | {"episode_return": 20.0}] * 60) == []
    assert len(given(TWO, [WELL | {"episode_return": 9.3}] + [stuck | {"episode_return": None}] * 60)) == 1
    narrow = stuck | {"entropy": 3 * (1.4189 + math.log(0.015))}
    assert len(given(LINE, [narrow] * 9)) == 1
    assert given(LINE, [stuck | {"entropy": 3 * (1.4189 + math.log(0.03))}] * 60) == []


def test_targets_beyond_the_support_are_told_with_the_range_that_was_seen():
    beyond = {"outside_support": 0.25, "lowest_target": -3.0, "highest_target": 10.5}
    ((index, hint),) = given(TWO, [beyond | {"outside_support": None}] * 5 + [beyond] * 30)
    assert index == 14 and "25% of the targets lie beyond the support" in hint
    assert "from -3 to 10.5" in hint and "v_max" in hint
    assert given(TWO, [beyond | {"outside_support": 0.01}] * 60) == []


def test_one_of_several_seeds_is_named_and_speaks_for_all():
    sick = WELL | {"approximate_kl": 2.0}
    ((index, hint),) = given(TWO, [[WELL, sick, WELL]] * 3 + [[sick, sick, sick]] * 9, seeds=3)
    assert index == 2 and hint.startswith("hint: seed 1, after 3,000 steps")


def test_rows_are_read_once():
    hints = Hints(TWO)
    row = WELL | {"approximate_kl": 2.0, "steps": 10, "seed": 0}
    assert [hints([row]) for _ in range(10)] == [[]] * 10 and hints([]) == []


@pytest.mark.parametrize(
    ("space", "least"),
    [
        (Discrete(4), 0.01 * math.log(4)),
        (MultiDiscrete([2, 3]), 0.01 * math.log(6)),
        (Box(-1.0, 1.0, (2, 2), np.float32), 4 * 0.5 * math.log(2 * math.pi * math.e * 0.02**2)),
        (Discrete(1), None),
        (Dict({}), None),
    ],
)
def test_the_least_entropy(space, least):
    assert least_entropy(space) == (least if least is None else pytest.approx(least))
