"""Atari games by ale-py's own vector environment (the extra `atari`), with the preprocessing that the field agreed on.

Sources: Mnih et al. 2015, Methods; Machado et al. 2018 for the sticky actions of the `-v5` ids. Each action is repeated
for 4 frames, the last two of which are merged by their maximum; frames are grey, 84 x 84, and the last four of them are
observed; an episode begins with up to 30 no-ops (and FIRE, where the game waits for it) and is truncated after 108,000
frames. Only while training, rewards are clipped to [-1, 1], and the loss of a life ends an episode though the game goes
on: what comes after is still observed, and is the beginning of the next one.
"""

import inspect
from typing import Any, TypeGuard

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from operant.environments.host import Host
from operant.errors import OperantError, unknown
from operant.workers.named import first_line

PREFIX = "ALE/"
# What is ours to say, and no argument of an environment.
OURS = (
    *("self", "game", "num_envs", "batch_size", "autoreset_mode"),
    *("reward_clipping", "episodic_life", "life_loss_info"),
)


class Atari(VectorEnv):
    """Copies of a game: stacked frames `[84, 84, 4]`, uint8, the newest last; ends arrive in the same step."""

    def __init__(self, name: str, num_envs: int, training: bool, **settings: Any):
        """Raises `OperantError` without ale-py, for a game or a setting that it does not have."""
        games = _vector_class(name)
        registered = gymnasium.spec(name)
        known = [setting for setting in inspect.signature(games.__init__).parameters if setting not in OURS]
        for setting in settings:
            if setting not in known:
                raise unknown(f"parameter of {name}", setting, known)
        told = registered.kwargs | settings
        for size in ("stack_num", "img_height", "img_width"):  # ale-py waits for ever where one is 0
            if isinstance(told.get(size), int) and told[size] < 1:
                raise OperantError(f"{name}'s {size} must be at least 1, not {told[size]}")
        try:
            self._games = games(
                num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, reward_clipping=training, **told
            )
        except Exception as error:
            raise OperantError(f"{name} could not be made: {type(error).__name__}: {first_line(error)}") from error
        self.num_envs, self.autoreset_mode, self._training = num_envs, AutoresetMode.SAME_STEP, training
        self.metadata = {"autoreset_mode": self.autoreset_mode}
        self.spec = EnvSpec(name, max_episode_steps=told["max_num_frames_per_episode"] // told["frameskip"])
        shape = _channels_last(self._games.observation_space.sample()).shape[1:]
        self.single_observation_space = Box(0, 255, shape, np.uint8)
        self.single_action_space = self._games.single_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = self._games.action_space
        self._lives = np.zeros(num_envs, np.int32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        frames, info = self._games.reset(seed=seed)
        self._lives = info["lives"].copy()
        return _channels_last(frames), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        frames, reward, terminated, truncated, info = self._games.step(actions)
        observation, over, lives = _channels_last(frames), terminated | truncated, info["lives"]
        final = observation.copy()
        if over.any():
            final[over] = _channels_last(info["final_obs"])[over]
        # Without a life left a game may go on for a moment, and ends by itself.
        lost = (lives < self._lives) & (lives > 0) & ~over
        self._lives = lives.copy()
        return observation, reward, terminated | (lost & self._training), truncated, {"final_obs": final}

    def close_extras(self, **kwargs: Any) -> None:
        self._games.close()


def is_game(environment: Any) -> TypeGuard[str]:
    """Whether `environment` is the id of an Atari game."""
    return isinstance(environment, str) and environment.startswith(PREFIX)


def games(name: str, num_envs: int, backend: str, settings: dict[str, Any], training: bool) -> Host:
    """The edge of `num_envs` copies of a game."""
    if backend == "compiled":
        raise OperantError(f"{name} has no compiled backend: it is a Gymnasium environment")
    host = Host(Atari(name, num_envs, training, **settings), name)
    host.ours = True
    return host


def _vector_class(name: str) -> Any:
    try:
        import ale_py  # pyright: ignore[reportMissingImports]
        from ale_py.vector_env import AtariVectorEnv  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise OperantError(f"{name} needs ale-py ({error}): pip install 'operant[atari]'") from None
    gymnasium.register_envs(ale_py)
    if name not in gymnasium.registry:
        raise unknown("environment", name, [known for known in gymnasium.registry if known.startswith(PREFIX)])
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no greeting
    return AtariVectorEnv


def _channels_last(frames: np.ndarray) -> np.ndarray:
    """Frames `[B, stack, H, W]` (or with colours, `[B, stack, H, W, 3]`) as images `[B, H, W, channels]`."""
    moved = np.moveaxis(frames, 1, 3)
    return np.ascontiguousarray(moved.reshape(*moved.shape[:3], -1))
