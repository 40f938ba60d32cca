"""What an agent expects of each action, and the episode drawn with it."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import operant
from operant.agent import Agent
from operant.algorithms.value.c51 import C51
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.algorithms.value.iqn import IQN
from operant.algorithms.value.qr_dqn import QRDQN
from operant.contracts import Spec
from operant.core.showing.panels import WIDTH
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP

SPACES = Box(-1, 1, (3,)), Discrete(4)


def untrained(algorithm, name):
    policy = algorithm.init(jax.random.key(0), Spec(*SPACES, 1)).policy
    return Agent(algorithm, policy, {"algorithm": name, "seeds": [0]}, SPACES)


@pytest.mark.parametrize("member", [C51, QRDQN, IQN], ids=lambda member: member.__name__)
def test_values_are_the_means_of_the_distributions_and_the_greedy_action_is_the_best(member):
    agent = untrained(member(network=MLP((8,))), "member")
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    outlook = agent.outlook(seen)
    assert outlook.values.shape == (5, 4) and outlook.returns.shape == outlook.chances.shape
    np.testing.assert_allclose(outlook.chances.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose((outlook.returns * outlook.chances).sum(axis=-1), outlook.values, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(outlook.values.argmax(axis=-1), agent.act(seen))
    one = agent.outlook(seen[2])
    np.testing.assert_allclose(one.values, outlook.values[2], rtol=1e-5, atol=1e-6)
    assert one.returns.shape == outlook.returns.shape[1:]


def test_without_distributions_there_are_values_alone():
    agent = untrained(DQN(network=MLP((8,))), "dqn")
    outlook = agent.outlook(np.zeros(3, np.float32))
    assert outlook.values.shape == (4,) and outlook.returns is None and outlook.chances is None
    assert outlook.values.argmax() == agent.act(np.zeros(3, np.float32))


def test_with_memory_it_is_what_the_memory_makes_of_the_observation():
    agent = untrained(DRQN(network=GRU(8, (8,))), "drqn")
    seen = np.ones((2, 3), np.float32)
    action, memory = agent.act(seen, agent.start(2))
    first, second = agent.outlook(seen, agent.start(2)), agent.outlook(seen, memory)
    assert np.abs(first.values - second.values).max() > 1e-3
    np.testing.assert_array_equal(first.values.argmax(axis=-1), action)
    np.testing.assert_array_equal(second.values.argmax(axis=-1), agent.act(seen, memory)[0])
    for other in (agent.start(3), 3):
        with pytest.raises(OperantError, match=r"not one for 2 observations: agent.start\(2\) makes it"):
            agent.outlook(seen, other)


def test_a_table_is_read():
    agent = operant.train("q-learning", "FrozenLake-v1", steps=2_000, progress="none")
    np.testing.assert_array_equal(agent.outlook(6).values, np.asarray(agent.policy.action_values)[6])


def test_an_algorithm_without_action_values_says_so():
    agent = operant.train("ppo", "CartPole-v1", steps=1_024, progress="none")
    with pytest.raises(OperantError, match=r"^ppo learns no action values$"):
        agent.outlook(np.zeros(4, np.float32))


class Drawn(gymnasium.Env):
    """Ends after six steps; a plain picture."""

    observation_space, action_space = SPACES

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(3, self.t / 10, np.float32), 0.0, self.t == 6, False, {}

    def render(self):
        return np.full((160, 200, 3), 40 * self.t, np.uint8)


def test_an_episode_has_the_outlook_beside_it_and_is_shown_in_a_notebook(tmp_path):
    from PIL import Image

    agent = untrained(C51(network=MLP((8,))), "c51")
    episode = agent.watch(Drawn)
    episode.save(tmp_path / "episode.gif")
    with Image.open(tmp_path / "episode.gif") as picture:
        assert picture.size == (200 + WIDTH, 160) and picture.n_frames == 7
    assert episode._repr_html_().startswith('<img alt="an episode" width="480" src="data:image/gif;base64,R0lGOD')


def test_watching_leaves_the_memory_that_is_in_use_alone():
    rows = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    undisturbed, watched = (untrained(DRQN(network=GRU(8)), "drqn") for _ in range(2))
    episodes = set()
    for row in rows:
        assert undisturbed.act(row) == watched.act(row)
        np.testing.assert_array_equal(undisturbed.outlook(row).values, watched.outlook(row).values)
        episodes.add(watched.watch(Drawn).gif)
    assert len(episodes) == 1  # which began with no memory
    watched.reset()
    assert not np.array_equal(undisturbed.outlook(row).values, watched.outlook(row).values)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(OperantError, match=r"^only an environment with a name or a factory can be drawn$"):
        untrained(DQN(network=MLP((8,))), "dqn").watch(Drawn())
