"""Random actions: uniform over every kind of action space, and a mark for others."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

import operant
from operant.algorithms.policy.random import Random, uniform
from operant.contracts import Spec
from operant.errors import OperantError


def draws(space, count=4000):
    return np.asarray(uniform(space, jax.random.key(0), count))


def test_discrete_actions_are_equally_likely():
    shares = np.bincount(draws(Discrete(4)), minlength=4) / 4000
    np.testing.assert_allclose(shares, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 4000))
    several = draws(MultiDiscrete([2, 5]))
    assert several.shape == (4000, 2)
    for column, size in enumerate((2, 5)):
        shares = np.bincount(several[:, column], minlength=size) / 4000
        np.testing.assert_allclose(shares, 1 / size, atol=4 * np.sqrt(1 / size / 4000))


def test_real_actions_fill_their_bounds():
    values = draws(Box(-1.0, 1.0, (2, 3)))
    assert values.shape == (4000, 2, 3) and (np.abs(values) <= 1).all()
    # Mean 0 and variance 1/3, each within four standard errors.
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=4 * np.sqrt(1 / 3 / 4000))
    np.testing.assert_allclose(values.var(axis=0), 1 / 3, atol=4 * np.sqrt((1 / 5 - 1 / 9) / 4000))
    unbounded = draws(Box(-np.inf, np.inf, (1,)))
    np.testing.assert_allclose(unbounded.var(), 1.0, atol=4 * np.sqrt(2 / 4000))


def test_it_is_trained_saved_and_evaluated_like_any_other(tmp_path):
    agent = operant.train("random", "CartPole-v1", steps=256, num_envs=2, out=tmp_path / "run", progress="none")
    assert 15 < agent.evaluate(100).mean < 30  # a falling pole
    loaded = operant.load(tmp_path / "run")
    assert set(np.asarray(loaded.act(np.zeros((100, 4))))) == {0, 1}


def test_actions_that_nobody_serves_are_refused():
    with pytest.raises(OperantError):
        Random().check(Spec(Discrete(2), gymnasium.spaces.Text(3), 1))
