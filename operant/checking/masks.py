"""Checks of action masks; and actions that keep to them, so that a check does not stumble over its own."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from operant.checking.report import Finding
from operant.workers.masking import ACTION_MASK, choices, legal


def mask_of(observation: Any, info: Any) -> Any:
    """The mask that came with an observation, in it or in the info; None without one."""
    for place in (observation, info):
        if isinstance(place, dict) and ACTION_MASK in place:
            return place[ACTION_MASK]
    return None


def masks(actions: gymnasium.Space, mask: Any, ended: bool, where: str) -> Iterator[Finding]:
    """Whether a mask fits the actions, and leaves one in each choice where the episode goes on."""
    if mask is None:
        return
    if not isinstance(actions, Discrete | MultiDiscrete) or actions.shape not in ((), (len(choices(actions)),)):
        yield Finding("action-mask", f"an action_mask {where} for {actions}", "mask Discrete or MultiDiscrete actions")
        return
    sizes, told = choices(actions), legal(mask)
    if told.shape != (sum(sizes),):
        said = f"an action_mask of shape {told.shape} {where}, for {sizes} actions"
        yield Finding("action-mask", said, f"give one entry for each action: {sum(sizes)}")
    elif not ended and not all(part.any() for part in np.split(told, np.cumsum(sizes)[:-1])):
        said = f"an action_mask that allows no action {where}"
        yield Finding("empty-mask", said, "leave one legal action, or end the episode")


def sample(actions: gymnasium.Space, mask: Any) -> Any:
    """A random action, a legal one where `mask` is fit to say which."""
    if mask is None or any(masks(actions, mask, False, "")):
        return actions.sample()
    parts = [part.astype(np.int8) for part in np.split(legal(mask), np.cumsum(choices(actions))[:-1])]
    return actions.sample(parts[0] if isinstance(actions, Discrete) else tuple(parts))
