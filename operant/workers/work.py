"""The worker's side: a few environments, stepped on request until the other end of the pipe is gone."""

import contextlib
import functools
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from operant.workers.named import Named
from operant.workers.spawning import GONE, attempt, started


def work(pipe: Connection, start: int, stop: int) -> None:
    """Serve environments `start` to `stop` - 1: each request `(command, argument)` has one answer `(good, value)`.

    The recipe comes first, and is answered with spaces and spec. A killed learner closes the pipe too, so that no
    worker outlives it by more than a step.
    """
    started()
    warnings.simplefilter("ignore")  # the learner's process made one environment too, and has said them
    made: list[SyncVectorEnv] = []

    def begin() -> Any:
        construct = pipe.recv()
        factories = [functools.partial(_named, construct, index) for index in range(start, stop)]
        made.append(SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP, copy=False))
        return made[0].single_observation_space, made[0].single_action_space, made[0].envs[0].spec

    with contextlib.suppress(*GONE):
        pipe.send(attempt(begin))
        while made:
            command, argument = pipe.recv()
            pipe.send(attempt(_reset if command == "reset" else _step, made[0], argument))
    for vector in made:
        vector.close()


def _named(construct: Callable[[], gymnasium.Env], index: int) -> gymnasium.Env:
    return Named(construct(), index)


def _reset(vector: SyncVectorEnv, seed: int | None) -> Any:
    return vector.reset(seed=seed)[0]


def _step(vector: SyncVectorEnv, action: np.ndarray) -> tuple:
    observation, reward, terminated, truncated, info = vector.step(action)
    ended = np.flatnonzero(np.logical_or(terminated, truncated))
    # Of `info` only what the edge reads: the rest may be large, or not fit through a pipe.
    final = {int(index): info["final_obs"][index] for index in ended}
    return observation, reward, terminated, truncated, final
