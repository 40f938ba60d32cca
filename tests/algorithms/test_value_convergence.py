"""Every learner of deep action values, with a network that is a table, comes to the exact solution of a small problem.

The problem is deterministic, because the mean of quantiles is the mean only there. Rainbow's composition is tested with
returns of one step: several steps are off-policy here, and their fixed point is another.
"""

import dataclasses

import numpy as np
import pytest

import operant
from operant import catalogue
from operant.core.data.datasets import Dataset
from operant.finite import MDP, policy_evaluation, value_iteration
from operant.parts.exploration import EpsilonGreedy, Random
from operant.parts.networks import MLP, Dueling, Noisy
from operant.parts.optimisers import Adam
from operant.parts.replay import Prioritised, Uniform
from operant.parts.schedules import Linear
from operant.parts.values.bootstraps import Double

DISCOUNT, TABLE = 0.8, MLP((), initialisation="uniform")
FOLLOWING = np.array([[1, 2], [2, 0], [3, 1], [3, 3]])
REWARDS = np.array([[0.3, -0.2], [0.5, 0.1], [1.0, -0.4], [0.0, 0.0]])


def problem():
    """Three states and an exit, two actions, and no chance."""
    transitions = np.eye(4)[FOLLOWING]
    return MDP.from_arrays(transitions, np.broadcast_to(REWARDS[..., None], (4, 2, 4)), terminal=[3])


OFF_POLICY = {
    "discount": DISCOUNT, "learning_rate": Linear(0.03, 0.0), "exploration": Random(), "target_every": 40, "warmup": 40,
    "num_steps": 4, "batch_size": 32, "replay": Uniform(400), "network": TABLE, "optimiser": Adam(),
}  # fmt: skip
ATOMS = {"v_min": -2.0, "v_max": 3.0, "num_atoms": 21}
MEMBERS = {
    "dqn": {},
    "dqn-composed": {
        "bootstrap": Double(), "replay": Prioritised(400), "network": Noisy(Dueling(TABLE), sigma=0.1),
    },
    "c51": ATOMS,
    "qr-dqn": {"num_quantiles": 5},
    # Its hidden units are multiplied by those of the fraction, of which some may never fire: more than one a state.
    "iqn": {"num_quantiles": 8, "num_acting": 8, "num_waves": 8, "network": MLP((32,), initialisation="uniform")},
    "rainbow": ATOMS | {"n_step": 1, "replay": Prioritised(400), "network": Noisy(Dueling(TABLE), sigma=0.1)},
}  # fmt: skip


def learned(name, fields, steps):
    """Action values `[3, 2]` of an agent trained by name."""
    name = name.removesuffix("-composed")
    algorithm = dataclasses.replace(catalogue.find(name).default(), **fields)
    agent = operant.train(
        algorithm, problem(), steps=steps, num_envs=4, progress="none", env_kwargs={"max_steps_in_episode": 10}
    )
    return values(algorithm, agent)


def values(algorithm, agent):
    """Action values `[3, 2]`."""
    features = np.eye(4, dtype=np.float32)
    if hasattr(algorithm, "_values"):
        return np.asarray(algorithm._values(agent.policy, features))[:3]
    return np.asarray(agent.policy((), features)[1])[:3]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_off_policy_members_find_the_optimal_values(name):
    exact = value_iteration(problem(), discount=DISCOUNT, tolerance=1e-9).action_values[:3]
    np.testing.assert_allclose(learned(name, OFF_POLICY | MEMBERS[name], 40_000), exact, atol=1e-2)


def every_pair():
    """Each action once in each state, in no order."""
    states, actions = np.repeat(np.arange(3), 2), np.tile(np.arange(2), 3)
    world = operant.make(problem())
    following, ends = FOLLOWING[states, actions], FOLLOWING[states, actions] == 3
    columns = states, actions, REWARDS[states, actions], ends, ~ends, following
    return Dataset(world.observation_space, world.action_space, *columns)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MEMBERS, "cql"])
def test_off_policy_members_find_the_optimal_values_in_a_dataset(name, tmp_path):
    """With a weight of zero CQL is DQN; with more its values are low on purpose."""
    fields = {"conservative_weight": 0.0} if name == "cql" else MEMBERS[name]
    algorithm = dataclasses.replace(
        catalogue.find(name.removesuffix("-composed")).default(), **OFF_POLICY | {"num_updates": 10} | fields
    )
    agent = operant.train(
        algorithm, problem(), dataset=every_pair().save(tmp_path / "data"), steps=10_000, progress="none"
    )
    exact = value_iteration(problem(), discount=DISCOUNT, tolerance=1e-9).action_values[:3]
    np.testing.assert_allclose(values(algorithm, agent), exact, atol=1e-2)


ON_POLICY = {"discount": DISCOUNT, "network": TABLE, "exploration": EpsilonGreedy(0.5), "optimiser": Adam()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep-sarsa", "pqn"])
def test_on_policy_members_find_their_values(name):
    """PQN's one-step targets are Q-learning's; expected SARSA has the values of the policy that explores."""
    optimal = value_iteration(problem(), discount=DISCOUNT, tolerance=1e-9).action_values[:3]
    rate = {"learning_rate": Linear(0.03, 0.0)}
    if name == "pqn":
        fields, exact = {"trace_decay": 0.0, "num_steps": 8}, optimal
    else:
        fields, exact = {"expected": True, "exploration": Random()}, None
        uniform = np.full((4, 2), 0.5)
        exact = policy_evaluation(problem(), uniform, discount=DISCOUNT, tolerance=1e-9).action_values[:3]
    np.testing.assert_allclose(learned(name, ON_POLICY | rate | fields, 40_000), exact, atol=1e-2)
