"""MinAtar by its authors' protocol: all six actions, sticky ones, no time limit but Freeway's.

Source: Young & Tian 2019, "MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement Learning
Experiments". gymnax's games (`Breakout-MinAtar` ...) have the same rules, observations and rewards, but the minimal
actions, none of them sticky, and a limit of 1,000 steps; results of the one protocol are not results of the other. Here
are those games whose dynamics are the original's step by step (`python benchmarks/minatar.py` compares them).

What differs from the authors' program: the action before an episode's first is the no-op, where theirs is the last one
of the episode before; Freeway ends after 2,500 steps as the paper says (the program counts one more), and that end is a
truncation, since nothing that is observed tells of it. The difficulty ramps, which is their default. Observations are
bool, as theirs; gymnax's are float32 and take four times the memory in a replay.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.environment import Environment
from gymnax.environments.minatar.breakout import MinBreakout
from gymnax.environments.minatar.freeway import MinFreeway
from gymnax.environments.minatar.space_invaders import MinSpaceInvaders
from jax import Array

STICKY = 0.1  # the probability that the last action is carried out in the place of the one that was chosen
# By Gymnasium's ids of the authors' package: the game, and its time limit.
GAMES: dict[str, tuple[type[Environment], int | None]] = {
    "MinAtar/Breakout-v0": (MinBreakout, None),
    "MinAtar/Freeway-v0": (MinFreeway, 2500),
    "MinAtar/SpaceInvaders-v0": (MinSpaceInvaders, None),
}


class Protocol(NamedTuple):
    """The parameters of a `MinAtar` game."""

    sticky_action_prob: float = STICKY
    max_steps_in_episode: int | None = None


class Played(NamedTuple):
    """A game's state, and the action that was carried out last."""

    game: Any
    action: Array


class MinAtar(Environment):
    """A game of `GAMES`, as a compiled environment."""

    def __init__(self, name: str):
        super().__init__()
        make, self._limit = GAMES[name]
        self._name, self._game = name, make(use_minimal_action_set=False)  # type: ignore[call-arg]

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> Protocol:  # type: ignore[override]
        return Protocol(max_steps_in_episode=self._limit)

    def action_space(self, params: Any = None) -> Any:
        return self._game.action_space(params)

    def observation_space(self, params: Any) -> spaces.Box:
        return spaces.Box(False, True, self._game.observation_space(params).shape, jnp.bool_)

    def reset_env(self, key: Array, params: Protocol) -> tuple[Array, Played]:  # type: ignore[override]
        observation, game = self._game.reset_env(key, self._game.default_params)
        return observation.astype(bool), Played(game, jnp.int32(0))

    def step_env(self, key: Array, state: Played, action: Any, params: Protocol) -> tuple:  # type: ignore[override]
        key_stick, key_game = jax.random.split(key)
        stuck = jax.random.bernoulli(key_stick, params.sticky_action_prob)
        action = jnp.where(stuck, state.action, jnp.int32(action))
        outcome = self._game.step_env(key_game, state.game, action, self._game.default_params)
        observation, game, reward, terminated, info = outcome
        return observation.astype(bool), Played(game, action), reward, terminated, info

    def is_truncated(self, state: Played, params: Protocol) -> Array:  # type: ignore[override]
        limit = params.max_steps_in_episode
        return jnp.bool_(False) if limit is None else state.game.time >= limit
