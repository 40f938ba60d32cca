"""Datasets of what trained agents do."""

from pathlib import Path

import numpy as np

from operant.agent import Agent, Agents, world_of
from operant.algorithms.policy.random import Random
from operant.core.behaviour import ENVS, Behaviour, record
from operant.core.datasets import joined, new_folder
from operant.environments.make import EnvironmentLike, release
from operant.errors import OperantError
from operant.parts.component import strong
from operant.words import answers_words


@answers_words
def export_dataset(
    agents: Agent | Agents,
    path: str | Path,
    steps: int,
    epsilon: float = 0.0,
    explore: bool = False,
    seed: int = 0,
    environment: EnvironmentLike | None = None,
) -> Path:
    """Play `steps` transitions and write them into the new folder `path`, for `operant.train(..., dataset=path)`.

    The policies are greedy unless they `explore` as at the end of their training; with probability `epsilon` an action
    is drawn uniformly instead. Several agents play an equal part each. Raises `OperantError` where there is no
    environment to play on, for numbers that make no sense, and where the folder cannot be written.
    """
    members = list(agents) if isinstance(agents, Agents) else [agents]
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < len(members):
        raise OperantError(f"steps must be a whole number of at least {len(members)}, not {steps!r}")
    if not 0 <= epsilon <= 1:
        raise OperantError(f"epsilon must be between 0 and 1, not {epsilon!r}")
    new_folder(path)  # found out now, not after all was played
    told = {key: members[0].description[key] for key in ("algorithm", "environment")}
    told |= {"epsilon": float(epsilon), "explore": bool(explore), "seed": seed}
    world, parts = world_of(members[0], environment, ENVS), []
    try:
        for k, agent in enumerate(members):
            behaviour = Behaviour(strong(agent.algorithm), Random(), np.float32(epsilon), bool(explore))
            share = steps // len(members) + (k < steps % len(members))
            parts.append(record(behaviour, agent.policy, world, share, seed + k))
    finally:
        release(world)
    return joined(parts, told).save(path)
