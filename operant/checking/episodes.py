"""What whole episodes show: values outside their space, ends that were merged, starts that are not fresh."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from operant.checking.report import Finding
from operant.parts.encoders import is_bounded
from operant.workers.leaves import map_leaves

ENOUGH = 3  # episodes, or ends, before anything is said about all of them
LARGE_REWARD, SMALL_REWARD = 1e3, 1e-3
ROUNDING = 1e-5  # of a bound: what single precision may exceed it by
MOST_FEATURES = 2000


@dataclass
class Episode:
    """One episode: observations as flat vectors `[T + 1, F]`, rewards `[T]`, and how it ended."""

    observations: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated


def flat(space: gymnasium.Space, observation: Any) -> np.ndarray:
    """The numbers of an observation in one float64 vector."""
    parts: list[np.ndarray] = []
    map_leaves(space, lambda _, leaf: parts.append(np.asarray(leaf, np.float64).ravel()), observation)
    return np.concatenate(parts)


def values(space: gymnasium.Space, observation: Any, where: str) -> Iterator[Finding]:
    """Values of one observation, or of a batch `[N, ...]`, that are not finite or not in the space."""
    found: list[Finding] = []

    def look(part: gymnasium.Space, leaf: Any) -> None:
        array = np.asarray(leaf)
        if not np.isfinite(array.astype(np.float64)).all():
            said = f"an observation with NaN or infinity {where}"
            found.append(Finding("non-finite-observation", said, "find the division or overflow that makes it"))
            return
        low, high = _bounds(part)
        slack = ROUNDING * np.maximum(1.0, np.maximum(*(np.where(np.isfinite(b), np.abs(b), 0.0) for b in (low, high))))
        outside = (array < low - slack) | (array > high + slack)
        integral = np.issubdtype(part.dtype or np.float32, np.integer)
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            ends = (np.broadcast_to(bound, array.shape)[place] for bound in (low, high))
            said = "an observation with {:.6g} {}, outside its space's [{:.6g}, {:.6g}]".format(
                array[place].item(), where, *(float(end) for end in ends)
            )
            found.append(Finding("outside-space", said, "widen the bounds of observation_space to what can be seen"))
        elif integral and (array != np.floor(array)).any():
            said = f"a fraction {where} in an observation whose space has dtype {part.dtype}"
            found.append(Finding("observation-dtype", said, "give that part of observation_space dtype float32"))

    map_leaves(space, look, observation)
    yield from found


def rewards(given: np.ndarray, where: str = "") -> Iterator[Finding]:
    """Rewards that are not finite, or of a scale that learning suffers from."""
    if not np.isfinite(given).all():
        yield Finding("non-finite-reward", f"a reward of NaN or infinity{where}", "bound what the reward divides by")
        return
    largest = float(np.abs(given).max(initial=0.0))
    if largest > LARGE_REWARD:
        fix = "divide rewards by a constant, so that most lie in [-1, 1]"
        yield Finding("reward-scale", f"rewards up to {largest:.3g} in size", fix, "warning")
    elif 0 < largest < SMALL_REWARD:
        fix = "multiply rewards by a constant, so that they come near 1"
        yield Finding("reward-scale", f"no reward above {largest:.3g} in size", fix, "warning")


def actions(space: gymnasium.Space) -> Iterator[Finding]:
    if isinstance(space, Box) and not is_bounded(space):
        said = f"the action space {space} has no finite bounds, so that actions cannot be scaled to [-1, 1]"
        yield Finding("unbounded-action", said, "give the actions' real range as low and high", "warning")


def merged_ends(episodes: list[Episode], limit: int | None) -> Iterator[Finding]:
    """A time limit told as `terminated`: an end at one step count, which no observation foretells."""
    fix = "return truncated=True at the time limit, terminated=True only where nothing can follow"
    over = [episode for episode in episodes if episode.ended]
    for length, kind in ((limit, "the time limit"), (len(over[0].rewards) if over else None, "always the same step")):
        hits = [episode for episode in over if len(episode.rewards) == length and episode.terminated]
        every = kind == "the time limit" or len(hits) == len(over)
        if length is None or length < 2 or len(hits) < ENOUGH or not every or _foretold(hits):
            continue
        said = f"{len(hits)} of {len(over)} episodes said terminated at step {length}, {kind}"
        yield Finding("merged-ends", said, fix, "error" if length == limit else "warning")
        return


def stale_starts(
    starts: np.ndarray, final: np.ndarray | None, after: np.ndarray, where: str = "step"
) -> Iterator[Finding]:
    """Observations `after [N, F]` an end, told as a new episode's first ones, against true `starts [M, F]`.

    `final [N, F]` are what was told as the ended episodes' last ones.
    """
    if len(after) < ENOUGH:
        return
    low, high = starts.min(0), starts.max(0)
    reach = (high - low) / 4 + ROUNDING * np.maximum(1.0, np.abs(low))
    fresh = ((after >= low - reach) & (after <= high + reach)).all(1).mean()
    copied = final is not None and np.array_equal(final, after)
    if fresh == 0 or (copied and fresh < 0.8) or (final is None and fresh < 0.5):
        said = (
            f"{1 - fresh:.0%} of {len(after)} observations after an end look like none of {len(starts)} after a reset"
        )
        fix = f"return the new episode's first observation from {where}, the last one in info"
        yield Finding("broken-autoreset", said, fix)
    elif copied and len(np.unique(np.vstack([starts, after]), axis=0)) > 1:
        said = f"the final observations of {len(after)} episodes are the first ones of the next"
        yield Finding("final-observation", said, "keep the last observation before the reset, and return it in info")


def _foretold(episodes: list[Episode]) -> bool:
    """Whether observations tell the time: a linear fit on every other episode predicts it in the rest."""
    train, test = (
        (np.concatenate([np.stack(e.observations) for e in half]), np.concatenate([_times(e) for e in half]))
        for half in (episodes[::2], episodes[1::2])
    )
    if train[0].shape[1] > MOST_FEATURES:
        return True  # cannot be told, so nothing is said
    design = [np.hstack([np.nan_to_num(x), np.ones((len(x), 1))]) for x, _ in (train, test)]
    weights = np.linalg.lstsq(design[0], train[1], rcond=1e-8)[0]
    left = test[1] - design[1] @ weights
    return bool((left**2).mean() < 0.1 * test[1].var())


def _times(episode: Episode) -> np.ndarray:
    return np.arange(len(episode.observations), dtype=np.float64)


def _bounds(space: gymnasium.Space) -> tuple[Any, Any]:
    if isinstance(space, Box):
        return np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if isinstance(space, Discrete):
        return float(space.start), float(space.start + space.n - 1)
    if isinstance(space, MultiDiscrete):
        return np.asarray(space.start, np.float64), np.asarray(space.start + space.nvec - 1, np.float64)
    return (0.0, 1.0) if isinstance(space, MultiBinary) else (-np.inf, np.inf)
