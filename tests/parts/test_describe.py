"""Descriptions: a round trip through JSON, and that nothing in a file can do more than name a known part."""

import copy
import dataclasses
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant import catalogue
from operant.algorithms.policy.ppo import PPO
from operant.algorithms.value.dqn import DQN
from operant.errors import CheckpointError, OperantError
from operant.parts.describe import PARTS, build, describe, fields_of
from operant.parts.exploration import Boltzmann
from operant.parts.networks import GRU, MLP, MinAtarCNN
from operant.parts.optimisers import SGD, RMSProp
from operant.parts.replay import Uniform
from operant.parts.schedules import Cosine, Exponential, Linear
from operant.parts.values.bootstraps import Munchausen

OTHERS = {
    "learning_rate": Cosine(1e-3, 1e-5, over=0.9),
    "clip": Exponential(0.3, 0.1),
    "entropy_coefficient": Linear(0.01),
    "exploration": Boltzmann(Linear(1.0, 0.1, over=0.25)),
    "replay": Uniform(77),
    "network": GRU(12, (8, 4), "relu"),
    "optimiser": RMSProp(0.9, 1e-3, centred=True),
    "normalise": ("rewards", "observations"),
    "bootstrap": Munchausen(0.1),
    "n_step": 3,
    "max_gradient_norm": 2.5,
    "target_kl": 0.02,
    "huber_threshold": 1.0,
    "baseline": False,
    "discount": 1,
    "weighting": "ordinary",
}


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=lambda entry: entry.name)
def test_every_algorithm_makes_the_round_trip(entry):
    plain = entry.make()
    names = {field.name for field in dataclasses.fields(entry.make)}
    changed = dataclasses.replace(plain, **{name: value for name, value in OTHERS.items() if name in names})
    assert changed != plain or not names
    for algorithm in (plain, changed):
        assert build(entry.make, through_json(fields_of(algorithm)), "here") == algorithm
    assert build(entry.make, {}, "here") == plain


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_every_part_makes_the_round_trip(part):
    needed = {"Linear": (1.0,), "Cosine": (1.0,), "Exponential": (1.0, 0.5), "Uniform": (3,), "Prioritised": (3,)}
    made = part(*needed.get(part.__name__, ()))
    described = through_json(describe(made))
    assert described["type"] == part.__name__
    assert build(part, {name: value for name, value in described.items() if name != "type"}, "here") == made


def test_arrays_of_one_number_are_numbers():
    assert describe((jnp.float32(0.5), np.int64(3), np.float32(2.0), True, None, "x")) == [0.5, 3, 2.0, True, None, "x"]
    assert [type(value) for value in describe([np.int64(3), jnp.float32(2.0)])] == [int, float]


@pytest.mark.parametrize(
    "cls, fields, words",
    [
        (PPO, [], "not an object"),
        (PPO, None, "not an object"),
        (PPO, {"learning_rat": 1.0}, "no field 'learning_rat'"),
        (PPO, {"discount": "0.9"}, "discount: '0.9'"),
        (PPO, {"discount": True}, "discount: 'True'"),
        (PPO, {"discount": None}, "discount"),
        (PPO, {"discount": float("nan")}, "discount: 'nan'"),
        (PPO, {"discount": 10**400}, "discount"),
        (PPO, {"discount": [0.9]}, "discount"),
        (PPO, {"discount": {"type": "MLP"}}, "discount"),
        (PPO, {"num_steps": 1.0}, "num_steps"),
        (PPO, {"num_steps": True}, "num_steps"),
        (PPO, {"num_steps": "128"}, "num_steps"),
        (PPO, {"target_kl": "no"}, "target_kl"),
        (PPO, {"target_kl": False}, "target_kl"),
        (PPO, {"normalise": "rewards"}, "normalise"),
        (PPO, {"normalise": [1]}, "normalise"),
        (PPO, {"network": 3.0}, "network"),
        (PPO, {"network": {"type": "Adam"}}, "network"),
        (PPO, {"network": {"type": "MLP", "hidden": [64, "x"]}}, "hidden"),
        (PPO, {"network": {"type": "MLP", "hidden": 64}}, "hidden"),
        (PPO, {"network": {"type": "MLP", "depth": 64}}, "MLP has no field 'depth'"),
        (PPO, {"network": {"type": "Perceptron"}}, "unknown part 'Perceptron'"),
        (PPO, {"network": {"type": ["MLP"]}}, "unknown part"),
        (PPO, {"network": {}}, "unknown part"),
        (PPO, {"network": {"external": "mine.Body"}}, "your own mine.Body: pass the algorithm object"),
        (PPO, {"optimiser": {"type": "MLP"}}, "optimiser"),
        (PPO, {"learning_rate": {"type": "Linear"}}, "lacks its field 'start'"),
        (PPO, {"learning_rate": {"type": "Linear", "start": "fast"}}, "start"),
        (PPO, {"learning_rate": {"type": "Linear", "start": True}}, "start"),
        (PPO, {"learning_rate": {"type": "Linear", "start": 1, "over": 0}}, "over must be positive"),
        (PPO, {"learning_rate": {"type": "Uniform", "capacity": 3}}, "learning_rate"),
        (DQN, {"bootstrap": "double"}, "bootstrap"),
        (DQN, {"bootstrap": 1}, "bootstrap"),
        (DQN, {"exploration": {"type": "Linear", "start": 1.0}}, "exploration"),
        (DQN, {"replay": {"type": "Uniform", "capacity": "big"}}, "capacity"),
        (DQN, {"replay": None}, "replay"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(cls, fields, words):
    with pytest.raises(OperantError, match=words) as caught:
        build(cls, fields, "run.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_deep_nesting_is_refused():
    lists, parts = 1.0, 1.0
    for _ in range(100_000):
        lists = [lists]
    for _ in range(10_000):
        parts = {"type": "EpsilonGreedy", "epsilon": parts}
    for deep in (lists, parts):
        with pytest.raises(CheckpointError):
            build(DQN, {"exploration": deep}, "run.json")


class Body:
    def __call__(self, key, shape):
        return MLP()(key, shape)


def test_ones_own_parts_are_named_and_never_imported(monkeypatch):
    marked = {"external": f"{__name__}.Body"}
    assert describe(Body()) == marked and describe(Body) == marked
    imported = []
    monkeypatch.setattr("builtins.__import__", lambda name, *rest, **named: imported.append(name) or sys.modules[name])
    for named in ("antigravity", "antigravity.Body", "tests.parts.absent"):
        for network in ({"external": named}, {"type": named}, {"type": named, "x": 1}):
            with pytest.raises(CheckpointError):
                build(PPO, {"network": network}, "run.json")
    assert "antigravity" not in sys.modules and "antigravity" not in imported


def test_a_part_of_ones_own_is_not_taken_for_the_librarys_of_the_same_name():
    @dataclasses.dataclass(frozen=True)
    class MLP:
        hidden: tuple[int, ...] = (3,)

    assert "external" in describe(MLP())


TREE = through_json(fields_of(DQN(learning_rate=Linear(1.0), network=MinAtarCNN(), optimiser=SGD())))
KEYS = st.sampled_from(["type", "start", "x"])
junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(sorted(PARTS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TREE)), st.sampled_from([None, "type", "hidden", "start", "epsilon"]), junk)
def test_damaged_descriptions_raise_only_operant_errors(name, inner, junk):
    fields = copy.deepcopy(TREE)
    if inner is not None and isinstance(fields[name], dict):
        fields[name][inner] = junk
    else:
        fields[name] = junk
    try:
        built = build(DQN, fields, "run.json")
    except OperantError as error:
        assert str(error)
    else:
        assert build(DQN, through_json(fields_of(built)), "run.json") == built
