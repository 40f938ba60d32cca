"""A run under way: the driver it needs, what watches it, and the agents that it leaves."""

import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from operant.agent import Agent, Agents
from operant.contracts import Asynchronous
from operant.core import training
from operant.core.asynchronous.driver import AsynchronousDriver
from operant.core.data.datasets import Dataset
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.core.drivers.members import Members
from operant.core.drivers.offline import OfflineDriver
from operant.core.drivers.series import SeriesDriver
from operant.core.hints import Hints
from operant.core.runs import loggers
from operant.core.runs.folder import RunFolder
from operant.core.runs.journal import Journal
from operant.core.selection import Best, Selection
from operant.core.showing.progress import Reporter
from operant.environments import Compiled, make
from operant.environments.host import Host
from operant.environments.make import EnvironmentLike, first_of, is_made, name_of, release
from operant.errors import OperantError
from operant.parts.describe import fields_of
from operant.workers.masking import has_mask, refuse_ignored

EVALUATION_ENVS = 10  # on the host
INSTEAD = "give a class, a factory or an id in place of an instance"


def driver_of(
    algorithm: Any,
    environment: EnvironmentLike,
    num_envs: int,
    num_seeds: int,
    backend: str,
    env_kwargs: Mapping[str, Any] | None,
    devices: Any,
    asked: int | None = None,
    dataset: Dataset | None = None,
) -> Any:
    """The driver that trains `algorithm` (or a list: one for each seed) there, on `devices` (None: on all there are).

    `asked` are the environments that the user gave in so many words: what is made already may be another number. From a
    `dataset` one is made to tell what is observed and done there, and none is stepped.
    """
    kwargs = dict(env_kwargs or {})
    each = algorithm if isinstance(algorithm, list) else [algorithm] * num_seeds
    masks = getattr(each[0], "masks", False) and (dataset is None or has_mask(dataset.observation_space))

    def one(own: Any) -> Any:
        if isinstance(own, Asynchronous) and dataset is None:
            world, construct = first_of(environment, backend, kwargs, masks)
            _check_world(own, environment, world, None if construct else asked)
            number = num_envs if construct or isinstance(world, Compiled) else world.num_envs
            return AsynchronousDriver(own, world, number, construct, devices[0] if devices else None)
        world = make(environment, num_envs if dataset is None else 1, backend, kwargs, masks, training=True)
        _check_world(own, environment, world, asked)
        if dataset is not None:
            release(world)
            return OfflineDriver(algorithm, dataset, world, num_seeds, devices)
        if isinstance(world, Compiled):
            return CompiledDriver(algorithm, world, num_envs, num_seeds, devices=devices)
        return HostDriver(own, world)

    first = one(each[0])
    if num_seeds == 1 or isinstance(first, Members):
        return first
    if isinstance(first.environment, Host) and is_made(environment):
        raise OperantError(f"several seeds need environments of their own beside {name_of(environment)}: {INSTEAD}")
    return SeriesDriver([first, *(one(own) for own in each[1:])])


def _check_world(algorithm: Any, environment: EnvironmentLike, world: Compiled | Host, asked: int | None) -> None:
    """Raise `OperantError` where `world` is not as many environments as asked, or has masks that are not honoured."""
    if isinstance(world, Host) and asked is not None and world.num_envs != asked:
        how = "pass its class or a factory to have several" if world.num_envs == 1 else "leave num_envs out"
        raise OperantError(f"{name_of(environment)} is {world.num_envs} environments already, not {asked}: {how}")
    try:
        refuse_ignored(algorithm, world.observation_space, name_of(environment))
    except OperantError:
        release(world)
        raise


def selection_of(driver: Any, environment: EnvironmentLike, description: dict[str, Any]) -> Selection | None:
    """What evaluates the run, on environments of its own; None where it is not to be evaluated."""
    if not description["evaluate_every"]:
        return None
    world = driver.environment
    if isinstance(world, Host):
        if is_made(environment):
            raise OperantError(f"evaluate_every needs environments of its own beside {name_of(environment)}: {INSTEAD}")
        masks = has_mask(world.observation_space)
        world = make(environment, EVALUATION_ENVS, "gymnasium", description["env_kwargs"], masks)
    every = max(1, math.ceil(description["evaluate_every"] / driver.steps_per_iteration))
    algorithm = driver.members if description["grid"] else driver.members[0]
    return Selection(algorithm, world, description["seeds"], every, description["stop_at"])


def run(
    driver: Any,
    plan: training.Plan,
    description: dict[str, Any],
    folder: RunFolder | None,
    environment: EnvironmentLike,
    selection: Selection | None,
    progress: str,
    callback: Callable[[training.Progress], bool | None] | None,
    history: list[list[dict[str, Any]]] | None = None,
) -> Agent | Agents:
    """Train by `plan` and return the agents."""
    reporter = Reporter(progress, f"{description['algorithm']} on {description['environment']}")
    logs = loggers.start(description["log"], folder, description, plan.iteration * driver.steps_per_iteration)

    hints = Hints(driver.spec.action_space, len(description["seeds"]))

    def report(now: training.Progress) -> bool:
        reporter(now)
        for hint in hints(now.rows):
            reporter.say(hint)
        return bool(callback is not None and callback(now))

    journal = Journal(description["seeds"], folder, logs, history)
    try:
        outcome = training.run(driver, plan, journal, selection, report)
    finally:
        reporter.close()
        driver.close()
        if selection is not None:
            release(selection.world)
    if selection is not None and selection.reached and outcome.interrupted and progress != "none":
        say(f"stopped at {outcome.progress.steps:,} steps: the evaluation reached {selection.stop_at:g}")
    elif outcome.interrupted and folder is not None:
        say(f"stopped at {outcome.progress.steps:,} steps; continue with: operant resume {folder.quoted}")
    if outcome.signal == signal.SIGTERM:
        # Ctrl-C hands over the agent as it is; a process that was told to end has saved what there is, and ends.
        raise SystemExit(128 + signal.SIGTERM)
    spaces = driver.environment.observation_space, driver.environment.action_space
    policies, best = driver.policies(outcome.carry), selection.best if selection else None
    agents = agents_of(driver.members, policies, description, spaces, environment, outcome.history, best)
    agents.outcome, agents.folder = outcome, folder.path if folder else None
    return agents


def agents_of(
    algorithms: Sequence[Any],
    policies: Any,
    description: dict[str, Any],
    spaces: Any,
    environment: EnvironmentLike | None,
    history: list[list[dict[str, Any]]],
    best: Best | None = None,
) -> Agent | Agents:
    """An agent a seed, from policies `[seeds, ...]`; each with the one of its best evaluation, if any."""
    members = []
    for k, seed in enumerate(description["seeds"]):
        own = description | {"seeds": [seed]}
        if description["grid"]:
            own |= {"fields": fields_of(algorithms[k]), "grid": {}}
        policy, *others = (
            jax.tree.map(lambda leaf, k=k: leaf[k], each) for each in (policies, *([best.policies] if best else []))
        )
        agent = Agent(algorithms[k], policy, own, spaces, environment)
        agent.history = history[k]
        if best is not None:
            agent.best = Agent(algorithms[k], others[0], own, spaces, environment)
            agent.best_steps = best.steps[k]
        members.append(agent)
    return members[0] if len(members) == 1 else Agents(members)


def announced(description: dict[str, Any], asked: int, driver: Any) -> str:
    """What is about to happen: the backend that was taken, where it runs, what was rounded up or will be in vain."""
    window = driver.steps_per_iteration
    placing = getattr(driver, "placing", getattr(driver.environment, "placing", ""))
    steps, seeds = description["steps"], len(description["seeds"])
    settings = math.prod(map(len, description["grid"].values()))
    rounded = f" ({asked:,} rounded up to whole windows of {window:,})" if steps != asked else ""
    where, kind = f"{description['backend']} backend, {description['num_envs']} environments{placing}", "steps"
    warmup = getattr(driver.members[0], "warmup", 0)
    vain = isinstance(warmup, int) and warmup >= steps and not description["dataset"]
    if dataset := description["dataset"]:
        where, kind = f"{dataset['rows']:,} transitions of {dataset['source']}", "gradient steps"
    return (
        f"{description['algorithm']} on {description['environment']}: {where}, {steps:,} {kind}{rounded}"
        + (f", {settings} settings of {seeds // settings} seeds" if settings > 1 else "")
        + (f", {seeds} seeds" if seeds > settings == 1 else "")
        + (f"; nothing is learned, for warmup is {warmup:,} steps" if vain else "")
    )


def say(message: str) -> None:
    """One line for people."""
    print(message, file=sys.stderr, flush=True)
