"""Every learner of deep action values comes to the exact solution of a small problem over its legal actions.

All rewards are below zero, so that the values of illegal actions, which nothing teaches, are above all others: one that
enters a target is seen at once. Whoever takes one is paid what is no number, and the run stops.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, MultiBinary
from scipy.special import log_softmax

import operant
from operant import catalogue
from operant.core.data.datasets import Dataset
from operant.parts.exploration import Random
from operant.parts.networks import GRU
from operant.parts.schedules import Linear
from operant.parts.values.bootstraps import Munchausen
from tests.algorithms.test_value_convergence import ATOMS, DISCOUNT, MEMBERS, OFF_POLICY, ON_POLICY, values
from tests.probes import Params

FOLLOWING = np.array([[1, 2, 0], [2, 1, 3], [2, 0, 3], [3, 3, 3]])
REWARDS = np.array([[-0.7, -1.2, np.nan], [-0.5, np.nan, -2.0], [np.nan, -0.4, -0.9], [0.0, 0.0, 0.0]])
LEGAL = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]], bool)  # nothing at the exit


class World(NamedTuple):
    place: jax.Array
    time: jax.Array


class Fenced:
    """Three states and an exit, three actions, of which one is illegal in each."""

    name, default_params = "Fenced", Params(10)

    def observation_space(self, params):
        return Dict({"place": Discrete(4), "action_mask": MultiBinary(3)})

    def action_space(self, params):
        return Discrete(3)

    def observe(self, world):
        return {"place": world.place, "action_mask": jnp.asarray(LEGAL)[world.place].astype(jnp.int8)}

    def reset(self, key, params=None):
        world = World(jax.random.randint(key, (), 0, 3), jnp.int32(0))
        return self.observe(world), world

    def step(self, key, world, action, params=None):
        reward = jnp.float32(REWARDS)[world.place, action]
        world = World(jnp.asarray(FOLLOWING)[world.place, action], world.time + 1)
        final, terminated = self.observe(world), world.place == 3
        truncated = (world.time >= self.default_params.max_steps_in_episode) & ~terminated
        ended, fresh = terminated | truncated, self.reset(key)
        observation, world = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, (final, world))
        return observation, world, reward, terminated, truncated, {"final_observation": final}


def solved(following, reward=lambda q: REWARDS):
    """Action values `[3, 3]`, nan where illegal, by iterating r + discount `following(q)` from nothing."""
    q = np.where(LEGAL, 0.0, np.nan)
    for _ in range(300):
        worth = np.append([following(q[s][LEGAL[s]]) for s in range(3)], 0.0)
        q = np.where(LEGAL, reward(q) + DISCOUNT * worth[FOLLOWING], np.nan)
    return q[:3]


def check(found, exact, atol):
    np.testing.assert_allclose(np.where(LEGAL[:3], found, np.nan), exact, atol=atol)


def learned(name, fields, steps):
    """An algorithm and its agent, trained by name."""
    algorithm = dataclasses.replace(catalogue.find(name.removesuffix("-composed")).default(), **fields)
    return algorithm, operant.train(algorithm, Fenced(), steps=steps, num_envs=4, progress="none")


def test_the_optimal_values_over_the_legal_actions_are_found():
    check(values(*learned("dqn", OFF_POLICY, 8_000)), solved(np.max), 0.03)


LOWER = {"v_min": -5.0, "v_max": 2.0, "num_atoms": 29}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MEMBERS, "cql"])
def test_every_member_finds_them(name):
    """CQL with a weight of zero."""
    fields = MEMBERS.get(name, {"conservative_weight": 0.0})
    fields = fields | (LOWER if fields.keys() >= ATOMS.keys() else {})
    check(values(*learned(name, OFF_POLICY | fields, 40_000)), solved(np.max), 0.02)


@pytest.mark.slow
def test_munchausen_finds_the_values_of_its_own_equation():
    rule = Munchausen(temperature=0.3)

    def following(q):
        log_policy = log_softmax(q / rule.temperature)
        return np.sum(np.exp(log_policy) * (q - rule.temperature * log_policy))

    def reward(q):
        scaled = np.full(q.shape, np.nan)
        for s in range(3):
            scaled[s, LEGAL[s]] = rule.temperature * log_softmax(q[s][LEGAL[s]] / rule.temperature)
        return REWARDS + rule.weight * np.clip(scaled, rule.lowest, 0.0)

    found = values(*learned("dqn", OFF_POLICY | {"bootstrap": rule}, 40_000))
    check(found, solved(following, reward), 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pqn", "deep-sarsa", "deep-mc"])
def test_learners_from_windows_find_their_values(name):
    """PQN's one-step targets are Q-learning's; the others judge the rule, every legal action alike."""
    fields = {
        "pqn": {"trace_decay": 0.0, "num_steps": 8},
        "deep-sarsa": {"expected": True, "exploration": Random()},
        "deep-mc": {"exploration": Random()},
    }[name]
    fields = ON_POLICY | {"learning_rate": Linear(0.03, 0.0)} | fields
    exact, atol = (solved(np.max), 0.02) if name == "pqn" else (solved(np.mean), 0.1 if name == "deep-mc" else 0.02)
    check(values(*learned(name, fields, 40_000)), exact, atol)


@pytest.mark.slow
def test_with_memory_the_values_along_a_greedy_episode_are_found():
    fields = {"discount": DISCOUNT, "exploration": Random(), "warmup": 200, "num_steps": 8, "burn_in": 4}
    fields |= {"network": GRU(16, (16,)), "target_every": 100, "learning_rate": Linear(5e-3, 0.0)}
    _, agent = learned("drqn", fields, 60_000)
    exact = solved(np.max)
    for start in range(3):
        place, memory = start, agent.start()
        while place != 3:
            seen = {"place": np.int64(place), "action_mask": LEGAL[place].astype(np.int8)}
            found = agent.outlook(seen, memory).values
            np.testing.assert_allclose(found[LEGAL[place]], exact[place][LEGAL[place]], atol=0.1)
            action, memory = agent.act(seen, memory)
            assert action == np.nanargmax(exact[place])
            place = FOLLOWING[place, action]


@pytest.mark.slow
def test_a_dataset_has_its_masks(tmp_path):
    states, actions = np.nonzero(LEGAL)
    following = FOLLOWING[states, actions]
    seen, after = ({"place": at, "action_mask": LEGAL[at].astype(np.int8)} for at in (states, following))
    world, ends = operant.make(Fenced()), following == 3
    spaces = world.observation_space, world.action_space
    data = Dataset(*spaces, seen, actions, REWARDS[states, actions], ends, ~ends, after).save(tmp_path / "data")
    algorithm = operant.CQL(conservative_weight=0.0, **OFF_POLICY | {"num_updates": 10})
    agent = operant.train(algorithm, Fenced(), dataset=data, steps=10_000, progress="none")
    check(values(algorithm, agent), solved(np.max), 0.02)
