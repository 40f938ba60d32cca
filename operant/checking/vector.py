"""Checks of a Gymnasium vector environment: its autoreset, its seeds, its ends."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from operant.checking import episodes as seen
from operant.checking.report import Broken, Finding
from operant.workers.leaves import map_leaves
from operant.workers.named import first_line

STARTS = 8  # resets of all environments that true first observations are taken from


def check_vector(vector: VectorEnv, steps: int, seed: int) -> Iterator[Finding]:
    """Findings for a vector environment that the user made; it is played and stays open."""
    space, mode = vector.single_observation_space, _mode(vector)
    yield from seen.actions(vector.single_action_space)
    if mode == AutoresetMode.NEXT_STEP and type(vector) is not SyncVectorEnv:
        fix = "make it with autoreset_mode=AutoresetMode.SAME_STEP or DISABLED"
        yield Finding(
            "junk-step", "it resets in NEXT_STEP mode, whose steps after an end must not be learned from", fix
        )
    first = _rows(vector, _reset(vector, seed))
    starts = np.concatenate([_rows(vector, _reset(vector, seed + 1000 * (k + 1))) for k in range(STARTS)])
    if not np.array_equal(first, _rows(vector, _reset(vector, seed)), equal_nan=True):
        fix = "seed environment i with seed + i in reset, and draw from its np_random alone"
        yield Finding("unseeded-randomness", f"two resets with seed {seed} differ", fix)
    elif vector.num_envs > 1 and (first == first[0]).all() and not (starts == first[0]).all():
        said = "every environment starts alike, whatever the seed"
        yield Finding("equal-seeds", said, "seed environment i with seed + i", "warning")
    yield from _played(vector, mode, space, starts, steps, seed)


def _played(vector: VectorEnv, mode: AutoresetMode, space: Any, starts: np.ndarray, steps: int, seed: int) -> Any:
    vector.action_space.seed(seed)
    final, after, ended = [], [], np.zeros(vector.num_envs, bool)
    for number in range(max(1, steps // vector.num_envs)):
        before = ended
        try:
            observation, reward, terminated, truncated, info = vector.step(vector.action_space.sample())
        except Exception as error:
            said = f"step raised {type(error).__name__}: {first_line(error)}"
            raise Broken(Finding("raises", said, "mend what raises it")) from error
        rows = _rows(vector, observation)
        yield from seen.values(space, observation, f"at step {number + 1}")
        yield from seen.rewards(np.asarray(reward, np.float64))
        ended = np.logical_or(terminated, truncated)
        if mode == AutoresetMode.NEXT_STEP and before.any():
            after.extend(rows[before])
            if np.any(np.asarray(reward)[before] != 0):
                fix = "return reward 0 from the step that only resets"
                yield Finding("junk-step", "the step after an end, which ignores its action, paid a reward", fix)
        elif mode == AutoresetMode.DISABLED and ended.any():
            fresh = _rows(vector, vector.reset(options={"reset_mask": ended})[0])
            if not np.array_equal(fresh[~ended], rows[~ended], equal_nan=True):
                fix = "reset only where options['reset_mask'] is true"
                yield Finding("masked-reset", "resetting some environments changed the others", fix)
            after.extend(fresh[ended])
        elif mode == AutoresetMode.SAME_STEP and ended.any():
            told = info.get("final_obs")
            if told is None or any(told[i] is None for i in np.flatnonzero(ended)):
                fix = "put each ended episode's last observation into info['final_obs']"
                raise Broken(Finding("final-observation", "an episode ended without info['final_obs']", fix))
            final.extend(seen.flat(space, told[i]) for i in np.flatnonzero(ended))
            after.extend(rows[ended])
    last = np.stack(final) if final else None
    yield from seen.stale_starts(starts, last, np.stack(after) if after else starts[:0])


def _mode(vector: VectorEnv) -> AutoresetMode:
    told = getattr(vector.unwrapped, "autoreset_mode", None) or vector.metadata.get("autoreset_mode", "NextStep")
    return told if isinstance(told, AutoresetMode) else AutoresetMode(told)


def _reset(vector: VectorEnv, seed: int) -> Any:
    try:
        return vector.reset(seed=seed)[0]
    except Exception as error:
        said = f"reset raised {type(error).__name__}: {first_line(error)}"
        raise Broken(Finding("raises", said, "mend what raises it")) from error


def _rows(vector: VectorEnv, observation: Any) -> np.ndarray:
    """A batch of observations as float64 `[B, F]`."""
    parts: list[np.ndarray] = []
    count = vector.num_envs

    def take(_: Any, leaf: Any) -> None:
        parts.append(np.array(leaf, np.float64).reshape(count, -1))

    map_leaves(vector.single_observation_space, take, observation)
    return np.concatenate(parts, axis=1)
