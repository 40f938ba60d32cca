"""The gates: each preset reaches what it promises, over its seeds. Minutes long: `make verify`."""

import numpy as np
import pytest

import operant
from benchmarks.learning import GATES, USUAL, measure, row


@pytest.mark.slow
@pytest.mark.parametrize("name", USUAL)
def test_the_gate_is_passed(name):
    passed, line = row(GATES[name], *measure(GATES[name]))
    assert passed, line


@pytest.mark.slow
def test_without_memory_the_memory_chain_is_a_coin():
    # What the last action has to name was seen steps ago, and nothing since tells of it: the expected return is 0.
    trained = operant.train("ppo", "MemoryChain-bsuite", preset="none", num_seeds=4, progress="none")
    means = trained.evaluate(1000).returns
    assert (np.abs(means) < 4 / np.sqrt(1000)).all(), means
