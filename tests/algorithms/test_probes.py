"""Every algorithm solves every probe that it can serve, in both drivers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.algorithms.policy.a2c import A2C
from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.policy.trpo import TRPO
from operant.algorithms.value.c51 import C51
from operant.algorithms.value.deep_mc import DeepMC
from operant.algorithms.value.deep_sarsa import DeepSARSA
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.algorithms.value.iqn import IQN
from operant.algorithms.value.pqn import PQN
from operant.algorithms.value.qr_dqn import QRDQN
from operant.core import keys
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.core.evaluation import compiled_evaluator
from operant.environments import Compiled, Host
from operant.parts.exploration import EpsilonGreedy, Greedy
from operant.parts.networks import GRU, MLP, Dueling, Noisy
from operant.parts.replay import Prioritised, Uniform
from operant.parts.values.bootstraps import Double
from tests.probes import (
    ActionOnly,
    ContinuousAction,
    Discounting,
    Memory,
    ObservationAction,
    Probe,
    Truncation,
    ValueOnly,
    as_gymnasium,
)

DISCOUNT = 0.9
SMALL = MLP((32,), "tanh")
ppo = PPO(
    learning_rate=5e-3, discount=DISCOUNT, num_steps=16, num_minibatches=2, normalise=(), entropy_coefficient=0.0,
    max_gradient_norm=10.0, network=SMALL,
)  # fmt: skip
dqn = DQN(
    learning_rate=5e-3, discount=DISCOUNT, num_steps=4, warmup=64, target_every=32, batch_size=64,
    exploration=EpsilonGreedy(0.3), replay=Uniform(2048), network=SMALL,
)  # fmt: skip
reinforce = REINFORCE(learning_rate=5e-3, discount=DISCOUNT, network=SMALL)
recurrent = PPO(
    learning_rate=5e-3, discount=DISCOUNT, num_steps=16, num_minibatches=2, normalise=(), network=GRU(16, (16,)),
    max_gradient_norm=10.0,
)  # fmt: skip
drqn = DRQN(
    learning_rate=5e-3, discount=DISCOUNT, num_steps=4, burn_in=2, warmup=64, target_every=64, batch_size=32,
    num_updates=1, exploration=EpsilonGreedy(0.3), replay=Uniform(512), network=GRU(16, (16,)),
)  # fmt: skip
a2c = A2C(learning_rate=5e-3, discount=DISCOUNT, num_steps=16, normalise=(), max_gradient_norm=10.0, network=SMALL)
trpo = TRPO(
    critic_learning_rate=5e-3, discount=DISCOUNT, num_steps=16, num_epochs=4, num_minibatches=2, normalise=(),
    network=SMALL,
)  # fmt: skip
off_policy = {
    "learning_rate": 5e-3, "discount": DISCOUNT, "num_steps": 4, "warmup": 64, "target_every": 32, "batch_size": 64,
    "exploration": EpsilonGreedy(0.3), "replay": Uniform(2048), "network": SMALL,
}  # fmt: skip
on_policy = {"learning_rate": 5e-3, "discount": DISCOUNT, "exploration": EpsilonGreedy(0.3), "network": SMALL}
RELATIVES = {
    "c51": C51(v_min=-2.0, v_max=12.0, **off_policy),
    "qr-dqn": QRDQN(num_quantiles=8, **off_policy),
    "iqn": IQN(num_quantiles=4, num_acting=8, num_waves=16, **off_policy),
    "rainbow": C51(
        v_min=-2.0, v_max=12.0, n_step=3, bootstrap=Double(),
        **off_policy | {"replay": Prioritised(2048), "network": Noisy(Dueling(SMALL)), "exploration": Greedy()},
    ),
    "deep-sarsa": DeepSARSA(num_steps=8, **on_policy),
    "deep-mc": DeepMC(num_minibatches=1, **on_policy),
    "pqn": PQN(num_steps=8, **on_policy),
}  # fmt: skip
ENVIRONMENTS, COMPILED_ITERATIONS = 8, 250


def values(algorithm, state, observation):
    """State values at observations [N, 1], as the learner sees them."""
    features = jnp.asarray(observation, jnp.float32)
    if isinstance(algorithm, PPO | A2C | TRPO):
        return np.asarray(state.critic((), features)[1][:, 0])
    if hasattr(algorithm, "_values"):
        return np.asarray(algorithm._values(state.policy, features).max(axis=-1))
    if isinstance(algorithm, DRQN):  # at the start of an episode
        return np.asarray(algorithm._act(state.policy, state.policy.start(len(features)), features)[1].max(axis=-1))
    return np.asarray(state.policy((), features)[1].max(axis=-1))


def trained(algorithm, probe, iterations=COMPILED_ITERATIONS):
    driver = CompiledDriver(algorithm, Compiled(probe()), ENVIRONMENTS)
    carry = driver.advance(driver.start(0), 0, iterations, iterations)
    return driver, jax.tree.map(lambda leaf: leaf[0], carry.state)


def trained_on_host(algorithm, probe, iterations):
    driver = HostDriver(algorithm, Host([as_gymnasium(probe)] * ENVIRONMENTS))
    return driver, driver.advance(driver.start(0), 0, iterations, iterations).state


def mean_return(algorithm, state, probe):
    evaluate = jax.jit(compiled_evaluator(Compiled(probe()), 64))
    return float(np.mean(evaluate(algorithm, state.policy, keys.root(7)).returns))


@pytest.mark.parametrize("algorithm", [ppo, dqn], ids=["ppo", "dqn"])
def test_values_are_learned(algorithm):
    _, state = trained(algorithm, ValueOnly)
    np.testing.assert_allclose(values(algorithm, state, [[0.0]]), [1.0], atol=0.02)


@pytest.mark.parametrize("algorithm", [ppo, dqn], ids=["ppo", "dqn"])
def test_rewards_are_discounted(algorithm):
    _, state = trained(algorithm, Discounting)
    np.testing.assert_allclose(values(algorithm, state, [[0.0], [1.0]]), [DISCOUNT, 1.0], atol=0.05)


@pytest.mark.parametrize("algorithm", [ppo, dqn, a2c, drqn], ids=["ppo", "dqn", "a2c", "drqn"])
def test_truncation_is_not_termination(algorithm):
    # PPO's return estimates are cut every 5 steps and bootstrapped, so its fixed point is reached geometrically.
    _, state = trained(algorithm, Truncation, iterations=500)
    np.testing.assert_allclose(values(algorithm, state, [[0.0]]), [1 / (1 - DISCOUNT)], rtol=0.05)


class Confused(Compiled):
    """The deliberate mutation: a time limit reported as death."""

    def step(self, key, worlds, action):
        worlds, seen = super().step(key, worlds, action)
        never = jnp.zeros_like(seen.truncated)
        return worlds, seen._replace(terminated=seen.terminated | seen.truncated, truncated=never)


@pytest.mark.parametrize("algorithm", [ppo, dqn], ids=["ppo", "dqn"])
def test_the_truncation_probe_catches_the_confusion(algorithm):
    driver = CompiledDriver(algorithm, Confused(Truncation()), ENVIRONMENTS)
    state = jax.tree.map(lambda leaf: leaf[0], driver.advance(driver.start(0), 0, 500, 500).state)
    # At most five steps are then worth anything: 1 + 0.9 + ... + 0.9^4.
    assert values(algorithm, state, [[0.0]])[0] < 4.2


@pytest.mark.parametrize("probe", [ActionOnly, ObservationAction])
@pytest.mark.parametrize("algorithm", [ppo, dqn, reinforce], ids=["ppo", "dqn", "reinforce"])
def test_the_right_action_is_found(algorithm, probe):
    _, state = trained(algorithm, probe)
    assert mean_return(algorithm, state, probe) == 1.0


@pytest.mark.parametrize("algorithm", [ppo, reinforce, trpo], ids=["ppo", "reinforce", "trpo"])
def test_continuous_actions_arrive_in_the_environments_units(algorithm):
    _, state = trained(algorithm, ContinuousAction, iterations=1000)
    # Half of the unit box is 1 in the environment's [-2, 2]; an unscaled action would cost 0.25.
    assert mean_return(algorithm, state, ContinuousAction) > -0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_of_dqn_solve_the_probes(name):
    algorithm = RELATIVES[name]
    _, state = trained(algorithm, Discounting, iterations=600)
    np.testing.assert_allclose(values(algorithm, state, [[0.0], [1.0]]), [DISCOUNT, 1.0], atol=0.07)
    _, state = trained(algorithm, Truncation, iterations=800)
    np.testing.assert_allclose(values(algorithm, state, [[0.0]]), [1 / (1 - DISCOUNT)], rtol=0.07)
    _, state = trained(algorithm, ObservationAction, iterations=400)
    assert mean_return(algorithm, state, ObservationAction) == 1.0


@pytest.mark.parametrize("algorithm", [recurrent, drqn], ids=["ppo", "drqn"])
def test_memory_is_used(algorithm):
    _, state = trained(algorithm, Memory, iterations=400)
    assert mean_return(algorithm, state, Memory) == 1.0


def test_memory_cannot_be_faked():
    _, state = trained(ppo, Memory)
    assert mean_return(ppo, state, Memory) < 0.5


HOST = {"ppo": (ppo, 60), "dqn": (dqn, 250), "reinforce": (reinforce, 150)}


@pytest.mark.parametrize(
    "name", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn", "reinforce"))]
)
def test_the_right_action_is_found_on_the_host(name):
    algorithm, iterations = HOST[name]
    _, state = trained_on_host(algorithm, ObservationAction, iterations)
    assert mean_return(algorithm, state, ObservationAction) == 1.0


@pytest.mark.parametrize(("name", "iterations"), [("ppo", 150), ("dqn", 500)])
def test_truncation_is_not_termination_on_the_host(name, iterations):
    algorithm = HOST[name][0]
    _, state = trained_on_host(algorithm, Truncation, iterations)
    np.testing.assert_allclose(values(algorithm, state, [[0.0]]), [1 / (1 - DISCOUNT)], rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "iterations"), [(recurrent, 120), (drqn, 400)], ids=["ppo", "drqn"])
def test_memory_is_used_on_the_host(algorithm, iterations):
    _, state = trained_on_host(algorithm, Memory, iterations)
    assert mean_return(algorithm, state, Memory) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("probe", [ValueOnly, Discounting])
@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_values_are_learned_on_the_host(name, probe: type[Probe]):
    algorithm, iterations = HOST[name]
    _, state = trained_on_host(algorithm, probe, 2 * iterations)
    expected = [1.0] if probe is ValueOnly else [DISCOUNT, 1.0]
    np.testing.assert_allclose(values(algorithm, state, [[0.0], [1.0]][: len(expected)]), expected, atol=0.07)
