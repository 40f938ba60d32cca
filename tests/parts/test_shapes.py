"""Schedules and exploration rules of the user's own, in any field that takes one."""

import jax
import jax.numpy as jnp
import pytest

import operant
from operant.errors import CheckpointError, OperantError
from operant.flags import assemble, flags_of
from operant.parts.component import check_fields
from operant.parts.describe import build, describe, fields_of
from operant.parts.exploration import EpsilonGreedy, is_soft
from operant.parts.schedules import at


@operant.component
class Half:
    high: float = 1.0

    def at(self, progress):
        return self.high / (1.0 + progress)


@operant.component
class Last:
    """The last action, always."""

    rate: float = 0.5
    needs_counts = False

    def select(self, key, options, progress):
        return jnp.full(options.values.shape[:-1], options.values.shape[-1] - 1)

    def probabilities(self, options, progress):
        return jnp.zeros_like(options.values).at[..., -1].set(1.0)


def test_own_schedules_are_data_and_are_followed():
    assert jax.tree.leaves(EpsilonGreedy(Half(0.5))) == [0.5]
    assert float(at(Half(0.5), 1.0)) == 0.25 and float(at(jnp.float32(0.5), 1.0)) == 0.5
    assert is_soft(EpsilonGreedy(Half(0.5))) and not is_soft(Last())


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"learning_rate": Last()}, "learning_rate must be a finite number or a schedule"),
        ({"exploration": Half()}, "exploration must be an exploration rule"),
        ({"exploration": "greedy"}, "exploration must be an exploration rule"),
        ({"exploration": EpsilonGreedy(Half("high"))}, "Half's high must be a finite number"),
    ],
)
def test_what_is_no_such_part_is_refused(fields, words):
    with pytest.raises(OperantError, match=words):
        check_fields(operant.DQN(**fields))
    check_fields(operant.DQN(learning_rate=Half(), exploration=Last()))


def test_own_parts_are_described_by_name_and_do_not_break_flags():
    mine = operant.DQN(learning_rate=Half(), exploration=Last())
    told = fields_of(mine)
    assert told["exploration"] == describe(Last()) == {"external": f"{__name__}.Last"}
    with pytest.raises(CheckpointError, match="pass the algorithm"):
        build(operant.DQN, told, "run.json")
    flags = {flag.name: flag for flag in flags_of(mine)}
    assert flags["learning_rate"].kind.show(flags["learning_rate"].default) == "Half"
    assert assemble(mine, {}, {"exploration.rate": 0.2}).exploration == Last(0.2)
