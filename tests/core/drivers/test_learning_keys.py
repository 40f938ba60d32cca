"""Every window is learned from with a key of its own, the same one in either driver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.algorithms.policy.ppo import PPO
from operant.core import keys
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.environments import Compiled, Host
from operant.parts.component import component
from operant.parts.networks import MLP
from tests.probes import Truncation, as_gymnasium


def digits(key):
    """A part of a key that float32 holds exactly."""
    return jnp.float32(jax.random.key_data(key)[-1] % 4096)


@component
class Telling(PPO):
    """PPO whose metrics tell the key that it learned with."""

    def learn(self, state, window, key, context):
        state, metrics = PPO.learn(self, state, window, key, context)
        return state, metrics | {"key": digits(key)}


@pytest.mark.parametrize(
    "driver",
    [
        lambda algorithm: CompiledDriver(algorithm, Compiled(Truncation()), 2),
        lambda algorithm: HostDriver(algorithm, Host([as_gymnasium(Truncation)] * 2)),
    ],
    ids=["compiled", "host"],
)
def test_each_window_has_the_key_of_its_iteration(driver):
    training = driver(Telling(num_steps=4, num_minibatches=2, num_epochs=1, network=MLP((4,))))
    carry, told = training.start(5), [0.0]
    for iteration in range(4):
        carry = training.advance(carry, iteration, 1, 4)
        told.append(float(np.sum(carry.totals["key"].total)))
    expected = [float(digits(keys.role(keys.root(5), keys.LEARN, iteration))) for iteration in range(4)]
    np.testing.assert_array_equal(np.diff(told), expected)
    assert len(set(expected)) == 4
