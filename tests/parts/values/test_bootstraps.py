"""Bootstraps against their definitions, and how they meet."""

import jax.numpy as jnp
import numpy as np
import pytest

from operant.errors import OperantError
from operant.parts.component import check_fields
from operant.parts.values.bootstraps import Double, Max, Munchausen

RNG = np.random.default_rng(0)
TARGET, ONLINE = RNG.normal(size=(2, 6, 4)).astype(np.float32)
ACTION = np.array([0, 1, 2, 3, 0, 1], np.int32)


def weighed(rule, target=TARGET, online=ONLINE):
    return tuple(np.asarray(x) for x in rule.weigh(jnp.asarray(target), lambda: jnp.asarray(online)))


def test_the_best_action_by_one_network_or_the_other():
    for rule, judge in ((Max(), TARGET), (Double(), ONLINE)):
        weights, added = weighed(rule)
        np.testing.assert_array_equal(weights, np.eye(4)[judge.argmax(-1)])
        assert not added.any() and not np.asarray(rule.bonus(lambda: TARGET, ACTION)).any()
    assert (TARGET.argmax(-1) != ONLINE.argmax(-1)).any()


def test_double_with_equal_networks_is_max():
    for a, b in zip(weighed(Max(), TARGET, TARGET), weighed(Double(), TARGET, TARGET), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("temperature", [0.5, 0.03])
def test_munchausen_is_the_definition(temperature):
    rule = Munchausen(temperature, 0.9, -1.0)
    q = TARGET.astype(np.float64)
    scaled = np.exp((q - q.max(-1, keepdims=True)) / temperature)
    policy = scaled / scaled.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_policy = (q - q.max(-1, keepdims=True)) / temperature - np.log(scaled.sum(-1, keepdims=True))
    weights, entropy = weighed(rule)
    np.testing.assert_allclose(weights, policy, atol=1e-5)
    np.testing.assert_allclose(entropy, -temperature * (policy * log_policy).sum(-1), atol=1e-5)
    bonus = np.asarray(rule.bonus(lambda: jnp.asarray(TARGET), jnp.asarray(ACTION)))
    expected = 0.9 * np.clip(temperature * log_policy[np.arange(6), ACTION], -1.0, 0.0)
    np.testing.assert_allclose(bonus, expected, atol=1e-5)
    assert (expected == -0.9).any() or temperature == 0.5


def test_munchausen_without_temperature_tends_to_max():
    weights, entropy = weighed(Munchausen(1e-4, 0.0))
    np.testing.assert_allclose(weights, weighed(Max())[0], atol=1e-6)
    np.testing.assert_allclose(entropy, 0.0, atol=1e-3)


def test_ranges_are_checked():
    for rule, words in (
        (Munchausen(0.0), "temperature"),
        (Munchausen(weight=2.0), "weight"),
        (Munchausen(lowest=1.0), "lowest"),
    ):
        with pytest.raises(OperantError, match=words):
            check_fields(rule)
