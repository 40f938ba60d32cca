"""Recording: the picture shows the episode that was played, thinned and small, and no renderer ever breaks a run."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from PIL import Image

from operant.core.showing.episodes import CELL, FRAMES, WIDTH, record


class Fixed:
    """An agent that always does the same."""

    def __init__(self, environment, action, space=None, **description):
        self.environment, self.action, self.description = environment, action, description
        self.observation_space = space or Box(-np.inf, np.inf, (4,))
        self.calls = 0

    def start(self):
        return 0

    def act(self, observation, memory):
        assert memory == self.calls
        self.calls += 1
        return self.action, memory + 1


class Counter(gymnasium.Env):
    """Draws its step number as brightness, 1000 pixels wide; ends after `length` steps."""

    observation_space, action_space = Box(-1, 1, (4,)), Discrete(2)

    def __init__(self, length=400, render_mode=None, broken=False):
        self.length, self.render_mode, self.broken, self.t = length, render_mode, broken, 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(4, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(4, np.float32), 1.0, self.t == self.length, False, {}

    def render(self):
        if self.broken:
            raise RuntimeError("no display\nat all")
        return np.full((500, 1000, 3), 255 * self.t // self.length, np.uint8)


def brightness(path):
    with Image.open(path) as picture:
        return [picture.seek(k) or int(np.asarray(picture.convert("RGB")).mean()) for k in range(picture.n_frames)]


def test_a_long_episode_is_thinned_evenly_and_scaled(tmp_path):
    path = tmp_path / "episode.gif"
    assert record(Fixed(Counter, np.int32(1)), path) is None
    with Image.open(path) as picture:
        assert picture.width <= WIDTH and picture.size == (250, 125)
        assert FRAMES // 2 <= picture.n_frames <= FRAMES
    shown = np.diff(brightness(path))
    assert shown.min() >= 0 and shown.max() <= 8  # 255 / 101 = 2.5 a frame, rounded by a palette


def test_every_step_of_a_short_episode_is_shown(tmp_path):
    agent = Fixed(Counter, np.int32(1), env_kwargs={"length": 9})
    assert record(agent, tmp_path / "episode.gif") is None
    assert len(brightness(tmp_path / "episode.gif")) == 10 and agent.calls == 9


def test_the_twin_of_a_compiled_environment_draws_it(tmp_path):
    agent = Fixed("CartPole-v1", np.int32(0), backend="compiled", env_kwargs={})
    assert record(agent, tmp_path / "episode.gif") is None
    assert 8 <= agent.calls <= 11  # always left, the pole falls after some nine steps
    with Image.open(tmp_path / "episode.gif") as picture:
        assert picture.size == (300, 200)
        assert 6 <= picture.n_frames <= agent.calls + 1  # equal pictures become one that lasts longer


def test_changed_parameters_have_no_twin(tmp_path):
    agent = Fixed("CartPole-v1", np.int32(0), backend="compiled", env_kwargs={"gravity": 1.0})
    assert "parameters were changed" in record(agent, tmp_path / "episode.gif")


def test_a_grid_without_a_renderer_is_drawn_as_cells(tmp_path):
    agent = Fixed("Breakout-MinAtar", np.array([0]), Box(0, 1, (10, 10, 4)), backend="compiled", env_kwargs={})
    assert record(agent, tmp_path / "episode.gif") is None
    with Image.open(tmp_path / "episode.gif") as picture:
        assert picture.size == (10 * CELL, 10 * CELL)
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) >= 3  # the dark ground, the bricks, the paddle or the ball


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (Fixed(Counter, np.int32(1), env_kwargs={"broken": True}), "no episode.gif: no display"),
        (Fixed(Counter(), np.int32(1)), "no episode.gif: only an environment with a name or a factory can be drawn"),
        (Fixed("Nowhere-v0", 1, backend="gymnasium"), "no episode.gif: only an environment with a name"),
        (Fixed("FourRooms-misc", 1, backend="compiled"), "no episode.gif: FourRooms-misc has no renderer"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(agent, why, tmp_path):
    told = record(agent, tmp_path / "episode.gif")
    assert told.startswith(why) and "\n" not in told
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_told(tmp_path):
    agent = Fixed(Counter, np.int32(1), env_kwargs={"length": 3})
    assert "cannot be written" in record(agent, tmp_path / "gone" / "episode.gif")
