"""The gates: each preset reaches what it promises, over its seeds. Minutes long: `make verify`."""

import pytest

from benchmarks.learning import GATES, USUAL, measure, row


@pytest.mark.slow
@pytest.mark.parametrize("name", USUAL)
def test_the_gate_is_passed(name):
    passed, line = row(GATES[name], *measure(GATES[name]))
    assert passed, line
