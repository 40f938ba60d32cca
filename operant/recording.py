"""Datasets of what trained agents do, and of what runs remember."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from operant import description
from operant.agent import Agent, Agents, world_of
from operant.algorithms.policy.random import Random
from operant.api import driver_of_run
from operant.core import runtime
from operant.core.data.behaviour import ENVS, Behaviour, record
from operant.core.data.datasets import joined, new_folder
from operant.core.data.remembered import remembered
from operant.core.drivers.members import Members
from operant.core.drivers.series import SeriesCarry
from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder
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
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < len(members):
        raise OperantError(f"steps must be a whole number of at least {len(members)}, not {steps!r}")
    if not isinstance(epsilon, float | int | np.floating) or not 0 <= epsilon <= 1:
        raise OperantError(f"epsilon must be between 0 and 1, not {epsilon!r}")
    new_folder(path)  # found out now, not after all was played
    told = {key: members[0].description[key] for key in ("algorithm", "environment")}
    told |= {"epsilon": float(epsilon), "explore": bool(explore), "seed": seed}
    world, parts = world_of(members[0], environment, ENVS), []
    try:
        for k, agent in enumerate(members):
            behaviour = Behaviour(strong(agent.algorithm), Random(), np.float32(epsilon), bool(explore))
            share = int(steps) // len(members) + (k < steps % len(members))
            parts.append(record(behaviour, agent.policy, world, share, seed + k))
    finally:
        release(world)
    return joined(parts, told).save(path)


@answers_words
def export_replay(
    run: str | Path,
    path: str | Path,
    steps: int | None = None,
    environment: EnvironmentLike | None = None,
    algorithm: Any = None,
) -> Path:
    """Write what a run's replay held at its newest checkpoint into the new folder `path`, as a dataset.

    Of every seed the newest `steps` transitions, or all, environment by environment from the oldest on. An episode
    that was cut is known by what follows: the next row does not begin where it ended (with returns of several steps the
    rows say it themselves). Raises `OperantError` where the
    run has no replay of single transitions, and for whatever `operant.resume` would raise.
    """
    new_folder(path)
    folder = RunFolder.open(Path(run))
    about = description.read(folder)
    if about["dataset"] is not None:
        raise OperantError(f"{folder.path} learns from {about['dataset'].get('source')}: its replay is that dataset")
    runtime.prepare()
    driver, *_ = driver_of_run(folder, about, environment, algorithm, None, None)
    try:
        template = driver.template()
        members = template.members if isinstance(template, SeriesCarry) else [template]
        if not hasattr(members[0].state, "replay"):
            raise OperantError(f"{folder.path} has no replay: {about['algorithm']} forgets what it has learned from")
        carry, *_ = checkpoint.load_newest(folder.checkpoints, template)
        states = _states(driver, carry)
        replay = driver.members[0].replay
        parts = [remembered(replay, state.replay, driver.environment, driver.num_envs, steps) for state in states]
    finally:
        driver.close()
    told = {key: about[key] for key in ("algorithm", "environment", "seeds")} | {"replay": True}
    return joined(parts, told).save(path)


def _states(driver: Any, carry: Any) -> list[Any]:
    """The state of each seed."""
    if isinstance(carry, SeriesCarry):
        return [member.state for member in carry.members]
    if isinstance(driver, Members):
        return [jax.tree.map(lambda leaf, k=k: leaf[k], carry.state) for k in range(driver.num_seeds)]
    return [carry.state]
