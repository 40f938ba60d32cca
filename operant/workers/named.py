"""What one environment says, checked as it speaks. Loads no JAX, so that worker processes start quickly."""

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from operant.errors import OperantError
from operant.workers.leaves import map_leaves


class Named(gymnasium.Wrapper):
    """Checks what one environment says, and remembers where it is, so that errors can say so."""

    def __init__(self, environment: gymnasium.Env, index: int):
        super().__init__(environment)
        self.index, self.steps = index, 0
        # A wrapper asks every wrapper below it for its space, which costs more than a step of CartPole.
        self.space = environment.observation_space
        self.plain = isinstance(self.space, Box)

    def reset(self, **arguments: Any) -> tuple[Any, dict]:
        self.steps = 0
        try:
            outcome = self.env.reset(**arguments)
        except Exception as error:
            raise self._raised(error, "at its reset") from error
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            raise OperantError("reset did not return Gymnasium's two values (observation, info)")
        self._check(outcome[0])
        return outcome

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        try:
            outcome = self.env.step(action)
        except Exception as error:
            raise self._raised(error, f"episode step {self.steps}, action {action}") from error
        if not isinstance(outcome, tuple) or len(outcome) != 5:
            count = len(outcome) if isinstance(outcome, tuple) else "no tuple of"
            raise OperantError(
                f"step returned {count} values, not Gymnasium's five "
                "(observation, reward, terminated, truncated, info): split `done` into the two ends"
            )
        self.steps += 1
        observation, reward, terminated, truncated, info = outcome
        self._check(observation)
        number = np.asarray(reward)
        if number.ndim or number.dtype.kind not in "biuf":
            said = f"environment {self.index} gave the reward {reward!r} at episode step {self.steps}"
            raise OperantError(f"{said}: a reward is one number")
        if terminated or truncated:
            # The reset that follows may overwrite the environment's own buffer.
            observation = copy.deepcopy(observation)
        return observation, float(number), terminated, truncated, info

    def _raised(self, error: Exception, where: str) -> OperantError:
        told = isinstance(error, OperantError)  # by a wrapper of ours
        said = str(error) if told else f"the environment raised {type(error).__name__}: {first_line(error)}"
        return OperantError(f"{said} (environment {self.index}, {where})")

    def _check(self, observation: Any) -> None:
        space = self.space
        known = self.plain and type(observation) is np.ndarray
        if not (known and observation.shape == space.shape and observation.dtype == space.dtype):
            map_leaves(space, self._check_leaf, observation)

    def _check_leaf(self, space: gymnasium.Space, leaf: Any) -> None:
        if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
            return
        array = np.asarray(leaf)
        if array.shape != space.shape:
            what, given, said = "shape", array.shape, space.shape
        # float64 for float32 is fine, for an integer it is not.
        elif not np.can_cast(array.dtype, np.dtype(space.dtype), "same_kind"):
            what, given, said = "dtype", array.dtype, space.dtype
        else:
            return
        where = f"environment {self.index} gave an observation of {what} {given} at episode step {self.steps}"
        raise OperantError(f"{where}, its space says {said}")


def first_line(error: Exception) -> str:
    """What an exception says, cut to its first line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
