"""Policies in NumPy: the same actions as `agent.act`, without JAX; damaged and false files are told apart."""

import json
import subprocess
import sys

import gymnasium
import jax
import numpy as np
import pytest
import safetensors.numpy
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

import operant
from operant.agent import Agent
from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.random import Random
from operant.algorithms.tabular.double_q_learning import DoubleQLearning
from operant.algorithms.value.c51 import C51
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.iqn import IQN
from operant.contracts import Spec
from operant.environments.spaces import learner_space
from operant.errors import CheckpointError, OperantError
from operant.parts.networks import GRU, MLP, Dueling, LayerNorm, MinAtarCNN, Noisy
from operant.parts.networks.recipes import ACTIVATIONS
from operant.portable.policy import _digest

LINE = Box(np.float32([-2, -np.inf, 0]), np.float32([2, np.inf, 5]))
PARTS = Dict({"b": Box(0, 255, (2, 2), np.uint8), "a": MultiDiscrete([3, 2]), "c": MultiBinary(3), "d": Discrete(4)})
TORQUE = Box(np.array([-2.0, 0.1]), np.array([0.3, 7.0]), dtype=np.float64)  # bounds that float32 does not have


def agent_of(algorithm, observation_space, action_space, start=0):
    """As it is before any learning, but with every weight and statistic moved, so that none is 0 or 1."""
    spec = Spec(observation_space, learner_space(action_space), 4, None)
    policy = jax.jit(lambda key: algorithm.init(key, spec).policy)(jax.random.key(1))
    rng = np.random.default_rng(0)
    move = lambda leaf: leaf + rng.uniform(-0.4, 0.4, leaf.shape).astype(leaf.dtype)  # noqa: E731
    policy = jax.tree.map(lambda leaf: move(leaf) if leaf.dtype == np.float32 else leaf, policy)
    return Agent(algorithm, policy, {"algorithm": "x", "environment": "y"}, (observation_space, action_space))


def draw(space, count, seed=0):
    """A batch of observations of `space`."""
    space.seed(seed)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(space.sample() for _ in range(count)))


def row(observations, i):
    return jax.tree.map(lambda leaf: leaf[i], observations)


def same(policy, agent, observations):
    expected = agent.act(observations)
    actions = policy.act(observations)
    assert actions.dtype == expected.dtype and actions.shape == expected.shape
    np.testing.assert_allclose(actions, expected, rtol=2e-5, atol=2e-5)
    policy.reset()
    np.testing.assert_allclose(policy.act(row(observations, 0)), expected[0], rtol=2e-5, atol=2e-5)
    assert agent.action_space.contains(actions[0]) or actions.dtype == np.int32
    return actions


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    agent = agent_of(PPO(network=MLP((8, 8), activation, "uniform")), LINE, TORQUE)
    actions = same(agent.to_numpy(), agent, draw(LINE, 50))
    assert (actions >= TORQUE.low).all() and (actions <= TORQUE.high).all()
    assert len(np.unique(actions[:, 0])) > 10  # the network is heard


def test_bounds_that_float32_does_not_have_are_kept():
    agent = agent_of(PPO(network=MLP((8,), "tanh")), LINE, TORQUE)
    actions = agent.to_numpy().act(draw(LINE, 300) * np.float32([30, 30, 30]))
    assert (actions == TORQUE.low).any() or (actions == TORQUE.high).any()
    assert (actions >= TORQUE.low).all() and (actions <= TORQUE.high).all()


@pytest.mark.parametrize(
    "algorithm, observation_space, action_space",
    [
        (PPO(network=MLP((8,))), LINE, Discrete(3, start=5)),
        (PPO(network=MLP((8,))), PARTS, MultiDiscrete([3, 4])),
        (PPO(network=MLP((8,)), normalise=()), LINE, Box(-np.inf, np.inf, (2, 2), np.float32)),
        (DQN(network=MLP((8,), "gelu")), LINE, Discrete(4)),
        (DQN(network=MinAtarCNN(4, (8,))), Box(0, 1, (10, 9, 3), bool), Discrete(4)),
        (C51(network=Noisy(Dueling(MLP((8,))))), LINE, Discrete(4)),
        (IQN(network=LayerNorm(MLP((8,)))), LINE, Discrete(4)),
        (DoubleQLearning(), Discrete(30, start=2), Discrete(4)),
    ],
)
def test_every_kind_of_policy(algorithm, observation_space, action_space, tmp_path):
    agent = agent_of(algorithm, observation_space, action_space)
    observations = draw(observation_space, 40)
    policy = agent.to_numpy()
    actions = same(policy, agent, observations)
    assert len(np.unique(actions)) > 1
    policy.save(tmp_path / "policy.safetensors")
    again = operant.load_numpy(tmp_path / "policy.safetensors")
    np.testing.assert_array_equal(again.act(observations), actions)
    assert repr(again) == repr(policy)


def test_memory_is_kept_given_and_cleared(tmp_path):
    agent = agent_of(PPO(network=GRU(6, (5,))), LINE, Box(-1, 1, (2,)))
    agent.to_numpy().save(tmp_path / "policy")
    policy = operant.load_numpy(tmp_path / "policy")
    steps = [draw(LINE, 3, seed) for seed in range(6)]
    expected = [agent.act(x) for x in steps]
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-5)  # noqa: E731
    for x, action in zip(steps, expected, strict=True):
        close(policy.act(x), action)
    assert not np.allclose(agent.act(steps[0]), expected[0], atol=1e-3)  # the memory is heard
    policy.act(steps[0])
    ended = np.array([True, False, True])
    agent.reset(ended), policy.reset(ended)
    close(policy.act(steps[1]), agent.act(steps[1]))
    memory = policy.start(3)
    for x, action in zip(steps, expected, strict=True):
        given, memory = policy.act(x, memory)
        close(given, action)
    policy.reset()
    close(policy.act(steps[0]), expected[0])
    with pytest.raises(OperantError, match=r"policy.start\(3\)"):
        policy.act(steps[0], policy.start(2))


def test_what_numpy_cannot_do_is_named():
    with pytest.raises(OperantError, match="draws at random"):
        agent_of(Random(), LINE, Discrete(2)).to_numpy()


def test_an_own_network_with_an_unknown_operation_is_refused():
    agent = agent_of(PPO(network=Sorting), LINE, Discrete(2))
    with pytest.raises(OperantError, match="it needs JAX's 'sort'"):
        agent.to_numpy()


class Sorting:
    def __init__(self, key, shape):
        pass

    def __call__(self, x):
        return jax.numpy.sort(x)


def test_observations_that_do_not_fit():
    policy = agent_of(DQN(network=MLP((4,))), LINE, Discrete(2)).to_numpy()
    for observation in (np.zeros(4), np.zeros((2, 3, 3)), 1.0):
        with pytest.raises(OperantError, match="does not fit"):
            policy.act(observation)


def test_parts_that_do_not_fit():
    policy = agent_of(DQN(network=MLP((4,))), PARTS, Discrete(2)).to_numpy()
    with pytest.raises(OperantError, match="a dict of a, b, c, d"):
        policy.act({"a": [0, 0]})
    with pytest.raises(OperantError, match="batches of one size"):
        policy.act({**draw(PARTS, 3), "d": np.zeros(2, int)})


BARE = """
import sys
for name in ("jax", "jaxlib", "equinox", "gymnasium", "gymnax", "optax"):
    sys.modules[name] = None  # as if it were not installed: importing it raises
import numpy, operant
policy = operant.load_numpy(sys.argv[1])
print(policy.act({"a": [1, 1], "b": [[0, 255], [7, 9]], "c": [1, 0, 1], "d": 3}))
"""


def test_nothing_but_numpy_is_needed(tmp_path):
    agent = agent_of(PPO(network=MLP((8,))), PARTS, MultiDiscrete([3, 4]))
    agent.to_numpy().save(tmp_path / "policy")
    done = subprocess.run([sys.executable, "-c", BARE, tmp_path / "policy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    action = agent.act({"a": np.array([1, 1]), "b": [[0, 255], [7, 9]], "c": [1, 0, 1], "d": 3})
    assert done.stdout.strip() == str(action)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("numpy") / "policy"
    agent_of(DQN(network=MLP((4,))), LINE, Discrete(2)).to_numpy().save(path)
    return path


def test_every_damaged_byte_is_noticed(saved, tmp_path):
    data = saved.read_bytes()
    path = tmp_path / "damaged"
    for place in [*range(0, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged: "):
            operant.load_numpy(path)
    for length in (0, 7, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"damaged: "):
            operant.load_numpy(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        operant.load_numpy(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"instructions": [["system", [0], {}]]},
        {"instructions": [["__import__", [0], {}]]},
        {"instructions": [["tanh", [99], {}]]},
        {"instructions": [["tanh", [-1], {}]]},
        {"instructions": [["tanh", [0], {"out": [0]}]]},
        {"instructions": [["reshape", [0], {"new_sizes": [10**15]}]]},
        {"instructions": [["iota", [], {"shape": [10**15], "dtype": "float32", "dimension": 0}]]},
        {"instructions": [["convert_element_type", [0], {"new_dtype": "object"}]]},
        {"instructions": [5]},
        {"outputs": [9999]},
        {"outputs": [0, 0]},
        {"outputs": []},
        {"memory": 1},
        {"constants": 10**9},
        {"observation": {"shape": [10**15], "dtype": "float32"}},
        {"observation": 3},
        {"observation": {"dict": {"x": {"shape": "x", "dtype": "float32"}}}},
    ],
)
def test_a_program_that_nobody_exported_is_refused(saved, tmp_path, change):
    tensors = safetensors.numpy.load(saved.read_bytes())
    data = saved.read_bytes()
    told = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    program = json.dumps(json.loads(told["operant"]) | change)
    path = tmp_path / "false"
    sealed = {"operant": program, "sha256": _digest(program.encode(), tensors)}
    path.write_bytes(safetensors.numpy.save(tensors, sealed))
    with pytest.raises(CheckpointError, match=r"false: is not a NumPy policy") as caught:
        operant.load_numpy(path)
    assert "\n" not in str(caught.value)


def test_an_environment_played_by_numpy():
    environment = gymnasium.make("CartPole-v1")
    agent = operant.Learner(PPO(num_steps=4, num_minibatches=1, network=MLP((8,))), environment).agent
    policy = agent.to_numpy()
    observation, _ = environment.reset(seed=0)
    for _ in range(8):
        action = policy.act(observation)
        assert environment.action_space.contains(action) and action == agent.act(observation)
        observation, *_ = environment.step(action)
