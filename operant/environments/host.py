"""The edge of host environments: a Gymnasium vector environment in SAME_STEP mode, checked as it speaks."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from operant.contracts import Spec
from operant.environments.compiled import Transition
from operant.environments.spaces import environment_action, learner_space
from operant.errors import OperantError
from operant.parts.encoders import canonical_dtype
from operant.workers.leaves import assign, map_leaves
from operant.workers.masking import choices, has_mask, refuse_empty
from operant.workers.named import Named


class Host:
    """A Gymnasium vector environment behind `reset` and `step` in the library's words and dtypes."""

    placing = ""  # where the environments are stepped, in words that follow "8 environments"
    ours = False  # whether its environments were made for it alone, and may be closed with it

    def __init__(self, environments: VectorEnv | Sequence[Callable[[], gymnasium.Env]], name: str = "environment"):
        if isinstance(environments, VectorEnv):
            self.vector = environments
        else:
            factories = [self._named(factory, index) for index, factory in enumerate(environments)]
            self.vector = SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP, copy=False)
        self.name = name
        self.num_envs: int = self.vector.num_envs
        self.observation_space: gymnasium.Space = self.vector.single_observation_space
        self.action_space: gymnasium.Space = self.vector.single_action_space
        self.time_limit: int | None = getattr(self.vector.spec, "max_episode_steps", None) or _time_limit(self.vector)
        self.masked_reset = self._check_mode()
        discrete = isinstance(self.action_space, Discrete | MultiDiscrete)
        self._choices = choices(self.action_space) if has_mask(self.observation_space) and discrete else None

    @staticmethod
    def _named(factory: Callable[[], gymnasium.Env], index: int) -> Callable[[], gymnasium.Env]:
        return lambda: Named(factory(), index)

    def _check_mode(self) -> bool:
        """Make ends arrive SAME_STEP; true where this edge must reset by mask (mode DISABLED)."""
        # The metadata come second: Gymnasium's vector environments share one dictionary among those of a class.
        mode = getattr(self.vector.unwrapped, "autoreset_mode", None)
        mode = mode or self.vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        if mode == AutoresetMode.NEXT_STEP and type(self.vector) is SyncVectorEnv:
            # It consults the mode at each step, so that its junk steps need never be made.
            self.vector.autoreset_mode = AutoresetMode.SAME_STEP
        elif mode == AutoresetMode.NEXT_STEP:
            raise OperantError(
                f"{self.name} resets in NEXT_STEP mode, whose junk steps must not be learned from: "
                "make it with autoreset_mode=AutoresetMode.SAME_STEP or DISABLED"
            )
        return mode == AutoresetMode.DISABLED

    def spec(self) -> Spec:
        """What an algorithm is told: actions in the learner's units."""
        return Spec(self.observation_space, learner_space(self.action_space), self.num_envs, self.time_limit)

    def reset(self, seed: int | None) -> Any:
        """Fresh episodes everywhere: observation `[B, ...]`; environment i is seeded with seed + i."""
        return self._with_actions(self._observed(self.vector.reset(seed=seed)[0]))

    def step(self, action: np.ndarray) -> Transition:
        """Step every environment with a learner's actions `[B, ...]`; NumPy in, NumPy out."""
        outcome = self.vector.step(environment_action(self.action_space, action))
        observation, reward, terminated, truncated, info = outcome
        observation = self._observed(observation)
        ended = np.logical_or(terminated, truncated)
        following = observation
        if ended.any():
            if self.masked_reset:
                fresh, _ = self.vector.reset(options={"reset_mask": ended})
                observation = self._observed(fresh)
            else:
                following = spliced(self.observation_space, observation, info["final_obs"], ended)
        ends = np.array(terminated, bool), np.array(truncated, bool)  # a vector environment may reuse its own
        return Transition(np.array(reward, np.float32), *ends, following, self._with_actions(observation))

    def _observed(self, observation: Any) -> Any:
        def convert(space: gymnasium.Space, leaf: Any) -> np.ndarray:
            array = np.array(leaf, canonical_dtype(space.dtype))
            if array.shape != (self.num_envs, *(space.shape or ())):
                raise OperantError(
                    f"{self.name} gave observations of shape {array.shape[1:]}, its space says {space.shape}"
                )
            return array

        return map_leaves(self.observation_space, convert, observation)

    def _with_actions(self, observation: Any) -> Any:
        """Observations to act on. Raises `OperantError` where the mask of one allows no action."""
        if self._choices is not None:
            refuse_empty(observation, self._choices, self.name)
        return observation

    def close(self) -> None:
        self.vector.close()


def spliced(space: gymnasium.Space, observation: Any, final: Any, ended: np.ndarray) -> Any:
    """A batch of observations with the true final one (a row of `final`) where the episode `ended [B]`."""
    following = map_leaves(space, lambda _, leaf: leaf.copy(), observation)
    for index in np.flatnonzero(ended):
        assign(space, following, final[index], int(index))
    return following


def _time_limit(vector: VectorEnv) -> int | None:
    """The limit of the first inner environment, where there is one to look at."""
    inner = getattr(vector, "envs", None)
    spec = getattr(inner[0], "spec", None) if inner else None
    return getattr(spec, "max_episode_steps", None)
