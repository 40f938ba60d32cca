"""What a replay of single transitions remembers, in the order in which it happened."""

from typing import Any

import jax
import numpy as np

from operant.core.data.datasets import Dataset
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.environments.spaces import environment_action
from operant.errors import OperantError
from operant.parts.replay.prioritised import PrioritisedState
from operant.parts.replay.transitions import Transition


def remembered(replay: Any, state: Any, world: Compiled | Host, num_envs: int, steps: int | None = None) -> Dataset:
    """The newest `steps` rows (or all) of `state`, the state of `replay`, one environment after the other.

    Rows for returns of one step do not say where an episode was cut: it was, unless the next begins with what followed.
    Raises `OperantError` where the rows are no single transitions, and where there is none yet.
    """
    storage = getattr(replay, "storage", None)
    if storage is None:
        raise OperantError(f"{type(replay).__name__} does not tell which of its rows are the newest")
    ring = storage.ring(state.ring if isinstance(state, PrioritisedState) else state)
    held = int(replay.size(state))
    length = min(held, held if steps is None else steps) // num_envs
    if not held:
        raise OperantError("the replay holds no transitions to export")
    if length < 1:
        raise OperantError(f"steps must be at least {num_envs}, one of each environment, not {steps}")
    index = (int(ring.cursor) * ring.block - length * num_envs + np.arange(length * num_envs)) % (
        ring.blocks * ring.block
    )
    rows = jax.tree.map(np.asarray, replay.rows(state, index))
    if not isinstance(rows, Transition):
        raise OperantError("the replay holds sequences, and a dataset single transitions")
    streams = lambda leaf: leaf.reshape(length, num_envs, *leaf.shape[1:]).swapaxes(0, 1)  # noqa: E731
    rows = jax.tree.map(streams, rows)
    same = lambda a, b: np.all(a[:, :-1] == b[:, 1:], axis=tuple(range(2, a.ndim)))  # noqa: E731
    goes_on = np.all(jax.tree.leaves(jax.tree.map(same, rows.next_observation, rows.observation)), axis=0)
    if jax.tree.leaves(rows.begins):  # kept for returns of several steps: no need to guess
        goes_on = ~rows.begins[:, 1:]
    terminated = rows.continues == 0
    truncated = ~terminated & ~np.append(goes_on, np.zeros((num_envs, 1), bool), axis=1)
    columns = {
        "observation": rows.observation, "action": environment_action(world.action_space, rows.action),
        "reward": rows.reward, "terminated": terminated, "truncated": truncated,
        "next_observation": rows.next_observation,
    }  # fmt: skip
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), columns)
    return Dataset(world.observation_space, world.action_space, **flat)
