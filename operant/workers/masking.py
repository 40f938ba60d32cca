"""Action masks as environments give them: which actions are legal now. Loads no JAX.

A mask has one entry for each action of a Discrete space, true where the action may be taken; for MultiDiscrete one for
each action of each choice, as one vector `[sum(nvec)]` or as a tuple of one vector a choice. It comes with the
observation, in a Dict under the key `action_mask`, or in Gymnasium's `info["action_mask"]` of `reset` and `step`. At
the edge the second becomes the first, so that everybody after it knows one form.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from operant.errors import OperantError

ACTION_MASK = "action_mask"


def has_mask(space: gymnasium.Space) -> bool:
    """Whether observations of `space` carry a mask."""
    return isinstance(space, Dict) and ACTION_MASK in space.spaces


def choices(space: gymnasium.Space) -> list[int]:
    """How many actions each choice of a discrete action space has. Raises `OperantError` for another space."""
    if isinstance(space, Discrete):
        return [int(space.n)]
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return [int(n) for n in space.nvec]
    raise OperantError(f"an action_mask is for Discrete or flat MultiDiscrete actions, not {type(space).__name__}")


def check_mask(observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
    """Raise `OperantError` where the observations carry a mask that does not fit the actions, or nothing else."""
    if not has_mask(observation_space):
        return
    assert isinstance(observation_space, Dict)
    sizes, mask = choices(action_space), observation_space.spaces[ACTION_MASK]
    shapes = [part.shape for part in mask.spaces] if isinstance(mask, Tuple) else [mask.shape]
    if shapes not in ([(n,) for n in sizes], [(sum(sizes),)]):
        raise OperantError(f"the action_mask has the shape {', '.join(map(str, shapes))}, for {sizes} actions")
    if len(observation_space.spaces) == 1:
        raise OperantError("nothing is observed beside the action_mask: a constant will do")


def refuse_ignored(algorithm: Any, observation_space: gymnasium.Space, name: str) -> None:
    """Raise `OperantError` where the observations, of `name`, carry a mask and the algorithm does not know masks."""
    if has_mask(observation_space) and not getattr(algorithm, "masks", False):
        raise OperantError(f"{type(algorithm).__name__} does not honour the action_mask of {name}")


def legal(mask: Any) -> np.ndarray:
    """A mask, or a batch of them, as booleans `[..., sum(nvec)]`."""
    return np.concatenate(mask if isinstance(mask, tuple) else (mask,), axis=-1).astype(bool)


def refuse_empty(observation: Any, sizes: list[int], name: str) -> None:
    """Raise `OperantError` where one of the observations `[B, ...]` leaves some choice without a legal action."""
    mask = legal(observation[ACTION_MASK])
    free = np.logical_or.reduceat(mask, np.cumsum([0, *sizes[:-1]]), axis=-1).all(axis=-1)
    if not free.all():
        raise OperantError(f"the action_mask of {name} allows no action (environment {int(free.argmin())})")


class MaskObserved(gymnasium.Wrapper):
    """An environment with `info["action_mask"]` as one whose observations carry it.

    What it observes becomes the part `observation`, unless it is a Dict already. Raises `OperantError` at a reset or
    step whose info lacks the mask; after the end of an episode, where nobody acts, it may.
    """

    def __init__(self, environment: gymnasium.Env):
        super().__init__(environment)
        self.size = sum(choices(environment.action_space))
        seen = environment.observation_space
        self.parts = isinstance(seen, Dict)
        spaces = dict(seen.spaces) if isinstance(seen, Dict) else {"observation": seen}
        self.observation_space = Dict({**spaces, ACTION_MASK: MultiBinary(self.size)})

    def reset(self, **arguments: Any) -> tuple[Any, dict]:
        observation, info = self.env.reset(**arguments)
        return self._joined(observation, info, False, "reset"), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation = self._joined(observation, info, bool(terminated or truncated), "step")
        return observation, reward, terminated, truncated, info

    def _joined(self, observation: Any, info: dict, ended: bool, where: str) -> dict[str, Any]:
        if ACTION_MASK in info:
            mask = legal(info[ACTION_MASK]).astype(np.int8)
        elif ended:
            mask = np.zeros(self.size, np.int8)
        else:
            raise OperantError(f"the info of a {where} has no action_mask, though that of the first reset had one")
        if mask.shape != (self.size,):
            raise OperantError(f"an action_mask of shape {mask.shape} for {self.size} actions")
        return {**(observation if self.parts else {"observation": observation}), ACTION_MASK: mask}


def observed(construct: Callable[[], gymnasium.Env]) -> gymnasium.Env:
    """What `construct` makes, its masks moved from the info to the observation; a recipe that can be sent."""
    return MaskObserved(construct())


def masked_info(environment: gymnasium.Env) -> bool:
    """Whether the info of a reset has a mask, and the observation has none; resets it once to see."""
    if has_mask(environment.observation_space) or not isinstance(environment.action_space, Discrete | MultiDiscrete):
        return False
    try:
        outcome = environment.reset()
        return ACTION_MASK in outcome[1]
    except Exception:
        return False  # told in the environment's own words once it is used
