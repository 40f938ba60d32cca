"""A vector environment whose environments are stepped in spawned processes, several in each, SAME_STEP.

What travels is the recipe once, then actions one way and observations, rewards and ends the other; other info stays.
"""

import contextlib
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Tuple
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from operant.errors import OperantError
from operant.workers.spawning import GONE, GRACE, dumped, end, spawn
from operant.workers.work import work


class Processes(VectorEnv):
    """`num_envs` environments made by `construct`, shared out evenly over `count` processes.

    Environment i is seeded and named as in one process, so that only the speed differs. Raises `OperantError` where
    the environments cannot be made in another process, and later for whatever goes wrong in one, as `Named` says it.
    """

    def __init__(self, construct: Callable[[], gymnasium.Env], num_envs: int, count: int):
        self.autoreset_mode = AutoresetMode.SAME_STEP
        self.metadata = {"autoreset_mode": self.autoreset_mode}
        self.num_envs = num_envs
        shares = np.array_split(np.arange(num_envs), count)
        self._shares = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._pipes: list[Connection] = []
        self._workers: list[Any] = []
        self._end = weakref.finalize(self, end, self._pipes, self._workers)
        recipe = dumped(construct)
        try:
            self._start(recipe)
            spaces = self._answers()
        except BaseException:
            self._end()
            raise
        if any(theirs != spaces[0] for theirs in spaces):
            self._end()
            raise OperantError("copies of the environment have unequal spaces")
        self.single_observation_space, self.single_action_space, self.spec = spaces[0]
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _start(self, recipe: Any) -> None:
        spawn(work, [(share.start, share.stop) for share in self._shares], self._pipes, self._workers)
        for pipe in self._pipes:
            pipe.send_bytes(recipe)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict]:
        """Fresh episodes everywhere; environment i is seeded with seed + i."""
        self._ask([("reset", None if seed is None else seed + share.start) for share in self._shares])
        return _joined(self.single_observation_space, self._answers()), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Step every environment; `info["final_obs"]` holds the last observations of episodes that ended."""
        self._ask([("step", actions[share]) for share in self._shares])
        observations, *rest, finals = zip(*self._answers(), strict=True)
        reward, terminated, truncated = (np.concatenate(parts) for parts in rest)
        info: dict[str, Any] = {}
        if any(finals):
            info["final_obs"] = np.full(self.num_envs, None, object)
            for share, final in zip(self._shares, finals, strict=True):
                for index, observation in final.items():
                    info["final_obs"][share.start + index] = observation
        return _joined(self.single_observation_space, observations), reward, terminated, truncated, info

    def close_extras(self, **arguments: Any) -> None:
        """End the workers; each closes its environments first, if it does so in time."""
        self._end()

    def _ask(self, requests: list[Any]) -> None:
        for pipe, request in zip(self._pipes, requests, strict=True):
            with contextlib.suppress(*GONE):  # told when its answer is missing
                pipe.send(request)

    def _answers(self) -> list[Any]:
        """One answer from every worker, or the error of the first environment that has one."""
        answers = []
        for pipe, worker, share in zip(self._pipes, self._workers, self._shares, strict=True):
            try:
                answers.append(pipe.recv())
            except GONE:
                worker.join(GRACE)
                where = f"environments {share.start} to {share.stop - 1}"
                answers.append((False, f"the process of {where} ended by itself (exit code {worker.exitcode})"))
        for good, answer in answers:
            if not good:
                raise OperantError(answer)
        return [answer for _, answer in answers]


def _joined(space: gymnasium.Space, parts: Any) -> Any:
    """Batches of observations, one after another, as one batch."""
    if isinstance(space, Dict):
        return {name: _joined(part, [batch[name] for batch in parts]) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_joined(part, [batch[i] for batch in parts]) for i, part in enumerate(space.spaces))
    return np.concatenate(parts)
