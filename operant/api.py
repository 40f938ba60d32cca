"""The public face: train, load and resume."""

import dataclasses
import math
import platform
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax

from operant import catalogue
from operant.agent import Agent, Agents, evaluate_policies, over_seeds
from operant.core import checkpoint, runtime, training
from operant.core.compiled import CompiledDriver
from operant.core.host import HostDriver
from operant.core.progress import Reporter
from operant.core.runs import RunFolder
from operant.environments import Compiled, Host, make
from operant.environments.make import EnvironmentLike, is_made, name_of, release
from operant.environments.spaces import space_from_json, space_to_json
from operant.errors import CheckpointError, OperantError
from operant.parts.describe import build, fields_of
from operant.words import answers_words, unknown_word

ARGUMENTS = (
    "algorithm",
    "environment",
    "steps",
    "seed",
    "num_seeds",
    "num_envs",
    "backend",
    "env_kwargs",
    "out",
    "progress",
    "callback",
)
VERSIONS = ("jax", "jaxlib", "equinox", "optax", "gymnasium", "gymnax", "numpy")


def train(
    algorithm: Any = "ppo",
    environment: EnvironmentLike = "CartPole-v1",
    *,
    steps: int | None = None,
    seed: int = 0,
    num_seeds: int = 1,
    num_envs: int | None = None,
    backend: str = "auto",
    env_kwargs: dict[str, Any] | None = None,
    out: str | Path | Literal[True] | None = None,
    progress: str = "auto",
    callback: Callable[[training.Progress], bool | None] | None = None,
    **fields: Any,
) -> Agent | Agents:
    """Train `algorithm` (a name, with its fields as keywords, or an object) on `environment`.

    `steps` are environment transitions over all environments, for each seed. `out` is the run's folder, True a new
    one in `runs/`; without it nothing is written. `callback(progress)` is called between chunks and may return True
    to stop. Ctrl-C stops and returns the agent as it is; SIGTERM saves the run and ends the process. Several seeds
    (`seed`, `seed + 1`, ...) train side by side and come back as `Agents`.

    Raises `OperantError` for anything that cannot be served, before anything is written, and `DivergedError` where
    training stops being finite.
    """
    entry = catalogue.find(algorithm) if isinstance(algorithm, str) else catalogue.entry_of(algorithm)
    if isinstance(algorithm, str):
        algorithm = make_algorithm(algorithm, fields)
    elif fields:
        _check_words(type(algorithm), fields)
        raise OperantError(f"{', '.join(fields)}: set fields on the algorithm object itself, or give its name")
    steps = steps if steps is not None else entry.steps if entry else 200_000
    asked, num_envs = num_envs, num_envs if num_envs is not None else entry.num_envs if entry else 8
    for name, value in (("steps", steps), ("num_envs", num_envs), ("num_seeds", num_seeds)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OperantError(f"{name} must be a whole number of at least 1, not {value!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise OperantError(f"seed must be a whole number from 0 to 2147483647, not {seed!r}")
    runtime.prepare()
    name = entry.name if entry else type(algorithm).__name__
    world = make(environment, num_envs, backend, env_kwargs)
    if asked is not None and isinstance(world, Host) and world.num_envs != asked:
        how = "pass its class or a factory to have several" if world.num_envs == 1 else "leave num_envs out"
        raise OperantError(f"{name_of(environment)} is {world.num_envs} environments already, not {asked}: {how}")
    try:
        driver = _driver(algorithm, world, num_envs, num_seeds)
        iterations = math.ceil(steps / driver.steps_per_iteration)
        start = driver.start(seed)
    except OperantError:
        raise
    except Exception as error:
        # The fields came from the user: one that no check foresaw still gets its one line.
        told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise OperantError(f"{name} cannot run on {name_of(environment)} with these settings ({told})") from error
    description = {
        "algorithm": name,
        "fields": fields_of(algorithm),
        "environment": name_of(environment),
        "backend": "compiled" if isinstance(driver, CompiledDriver) else "gymnasium",
        "external_environment": not isinstance(environment, str),
        "env_kwargs": env_kwargs or {},
        "num_envs": driver.num_envs,
        "seeds": list(range(seed, seed + num_seeds)),
        "steps": iterations * driver.steps_per_iteration,
        "time_limit": driver.spec.time_limit,
        "observation_space": space_to_json(driver.environment.observation_space),
        "action_space": space_to_json(driver.environment.action_space),
        "versions": {package: version(package) for package in VERSIONS} | {"python": platform.python_version()},
    }
    folder = None
    if out is not None:
        folder = RunFolder.create(None if out is True else Path(out), name, name_of(environment), seed)
        folder.write_description(description)
    if progress != "none":
        _say(_announced(description, steps, driver))
    return _run(driver, start, 0, iterations, iterations, description, folder, environment, progress, callback, None)


@answers_words
def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    environment: EnvironmentLike | None = None,
    algorithm: Any = None,
    progress: str = "auto",
    callback: Callable[[training.Progress], bool | None] | None = None,
) -> Agent | Agents:
    """Continue the run in `path` from its newest whole checkpoint, to its end or to a new total of `steps`.

    On a compiled environment the result is, bit for bit, that of a run that was never interrupted. Beyond the steps
    that the run began with, schedules hold their last values. A custom environment is passed again.
    """
    folder = RunFolder.open(Path(path))
    description = _description(folder)
    algorithm = algorithm if algorithm is not None else _algorithm_of(description, folder)
    environment = environment if environment is not None else _environment_of(description, folder)
    runtime.prepare()
    num_envs = description["num_envs"]
    kwargs = None if is_made(environment) else description["env_kwargs"]
    world = make(environment, num_envs, description["backend"], kwargs)
    driver = _driver(algorithm, world, num_envs, len(description["seeds"]))
    carry, told, name, warnings = checkpoint.load_newest(folder.checkpoints, driver.template())
    iteration, horizon = _whole(told, "iteration", folder), max(1, _whole(told, "horizon", folder))
    end = horizon if steps is None else math.ceil(steps / driver.steps_per_iteration)
    if end <= iteration and steps is not None:
        raise OperantError(
            f"{path} has already trained {iteration * driver.steps_per_iteration:,} steps: "
            f"--steps is the new total, not {steps:,}"
        )
    for warning in warnings:
        _say(warning)
    _say(f"resuming {path} at {int(name):,} steps: {description['steps']:,} -> {end * driver.steps_per_iteration:,}")
    folder.rewind(int(name))
    rows = folder.read_metrics()
    history = [[row for row in rows if row.get("seed") == seed] for seed in description["seeds"]]
    description["steps"] = max(end, horizon) * driver.steps_per_iteration
    folder.write_description(description)
    return _run(driver, carry, iteration, end, horizon, description, folder, environment, progress, callback, history)


@answers_words
def load(path: str | Path, *, environment: EnvironmentLike | None = None, algorithm: Any = None) -> Agent | Agents:
    """The trained agent (or agents) of a run folder, or of what `agent.save` wrote. Needs no environment.

    `algorithm` must be passed where the run was of an algorithm, network or part outside the library.
    """
    folder = RunFolder.open(Path(path))
    description = _description(folder)
    algorithm = algorithm if algorithm is not None else _algorithm_of(description, folder)
    spaces = tuple(space_from_json(description.get(key)) for key in ("observation_space", "action_space"))
    seeds = description["seeds"]
    if environment is None and not description.get("external_environment"):
        environment = description["environment"]
    agent = Agent(algorithm, None, description, spaces, environment)
    shapes = jax.eval_shape(lambda: algorithm.init(jax.random.key(0), agent._spec(1)).policy)
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(seeds), *x.shape), x.dtype), shapes)
    policies, _, _, warnings = checkpoint.load_newest(folder.policies, template)
    for warning in warnings:
        _say(warning)
    rows = folder.read_metrics()
    history = [[row for row in rows if row.get("seed") == seed] for seed in seeds]
    agents = _agents(algorithm, policies, description, spaces, environment, history)
    agents.folder = folder.path
    return agents


def make_algorithm(name: str, fields: dict[str, Any]) -> Any:
    """The algorithm called `name` with `fields`; an unknown field is an `OperantError` with the nearest one."""
    cls = catalogue.find(name).make
    _check_words(cls, fields)
    return cls(**fields)


def _check_words(cls: type, fields: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(cls)]
    for field in fields:
        if field not in known:
            raise unknown_word(f"field of {cls.__name__}", field, [*known, *ARGUMENTS])


def _driver(algorithm: Any, world: Any, num_envs: int, num_seeds: int) -> CompiledDriver | HostDriver:
    if isinstance(world, Compiled):
        return CompiledDriver(algorithm, world, num_envs, num_seeds)
    if num_seeds > 1:
        raise OperantError("several seeds at once need a compiled environment: run Gymnasium seeds one by one (--seed)")
    return HostDriver(algorithm, world)


def _run(
    driver: Any,
    carry: Any,
    iteration: int,
    end: int,
    horizon: int,
    description: dict[str, Any],
    folder: RunFolder | None,
    environment: EnvironmentLike,
    progress: str,
    callback: Callable[[training.Progress], bool | None] | None,
    history: list[list[dict[str, Any]]] | None,
) -> Agent | Agents:
    reporter = Reporter(progress, f"{description['algorithm']} on {description['environment']}")

    def report(now: training.Progress) -> bool:
        reporter(now)
        return bool(callback is not None and callback(now))

    seeds = description["seeds"]
    try:
        outcome = training.run(driver, carry, iteration, end, horizon, seeds, folder, history, report)
    finally:
        reporter.close()
        release(driver.environment)
    if outcome.interrupted and folder is not None:
        _say(f"stopped at {outcome.progress.steps:,} steps; continue with: operant resume {folder.quoted}")
    if outcome.signal == signal.SIGTERM:
        # Ctrl-C hands over the agent as it is; a process that was told to end has saved what there is, and ends.
        raise SystemExit(128 + signal.SIGTERM)
    spaces = driver.environment.observation_space, driver.environment.action_space
    policies = driver.policies(outcome.carry)
    agents = _agents(driver.members[0], policies, description, spaces, environment, outcome.history)
    agents.outcome, agents.folder = outcome, folder.path if folder else None
    return agents


def _agents(
    algorithm: Any, policies: Any, description: dict[str, Any], spaces: Any, environment: Any, history: list
) -> Agent | Agents:
    members = []
    for k, seed in enumerate(description["seeds"]):
        policy = jax.tree.map(lambda leaf, k=k: leaf[k], policies)
        agent = Agent(algorithm, policy, description | {"seeds": [seed]}, spaces, environment)
        agent.history = history[k]
        members.append(agent)
    return members[0] if len(members) == 1 else Agents(members)


def _announced(description: dict[str, Any], asked: int, driver: CompiledDriver | HostDriver) -> str:
    """What is about to happen: the backend that was taken, where it runs, and steps that were rounded up."""
    window, placing = driver.steps_per_iteration, getattr(driver.environment, "placing", "")
    steps, seeds = description["steps"], len(description["seeds"])
    rounded = f" ({asked:,} rounded up to whole windows of {window:,})" if steps != asked else ""
    return (
        f"{description['algorithm']} on {description['environment']}: {description['backend']} backend, "
        f"{description['num_envs']} environments{placing}, {steps:,} steps{rounded}"
        + (f", {seeds} seeds" if seeds > 1 else "")
    )


def _description(folder: RunFolder) -> dict[str, Any]:
    """What `run.json` says, with everything that `train` writes into it."""
    description = folder.read_description()
    for key, kind in (("num_envs", int), ("backend", str), ("env_kwargs", dict), ("external_environment", bool)):
        if type(description.get(key)) is not kind:
            raise CheckpointError(f"{folder.description}: {key!r} is missing or not of type {kind.__name__}")
    if description["num_envs"] < 1:
        raise CheckpointError(f"{folder.description}: 'num_envs' is {description['num_envs']}, not at least 1")
    return description


def _algorithm_of(description: dict[str, Any], folder: RunFolder) -> Any:
    where = str(folder.description)
    if description["algorithm"] not in catalogue.BY_NAME:
        raise OperantError(f"{where}: {description['algorithm']!r} is not in the catalogue: pass algorithm=")
    return build(catalogue.BY_NAME[description["algorithm"]].make, description["fields"], where)


def _environment_of(description: dict[str, Any], folder: RunFolder) -> str:
    if description.get("external_environment"):
        raise OperantError(f"{folder.path} was trained on your own {description['environment']}: pass environment=")
    return description["environment"]


def _whole(told: dict[str, Any], key: str, folder: RunFolder) -> int:
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise OperantError(f"{folder.checkpoints}: the newest checkpoint does not say its {key}")
    return value


def _say(message: str) -> None:
    import sys

    print(message, file=sys.stderr, flush=True)


__all__ = ["Agent", "Agents", "evaluate_policies", "load", "make_algorithm", "over_seeds", "resume", "train"]
