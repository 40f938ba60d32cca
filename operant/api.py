"""The public face: train, load and resume."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from operant import catalogue, description, grids
from operant.agent import Agent, Agents, evaluate_policies, over_seeds
from operant.arguments import Settings, check_words, find_preset, make_algorithm, preset_told
from operant.core import runtime, training
from operant.core.data import sources
from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder
from operant.core.selection import Best, best_of
from operant.environments import Compiled
from operant.environments.make import EnvironmentLike, is_made, name_of
from operant.environments.spaces import space_from_json
from operant.errors import OperantError, unknown
from operant.running import agents_of, announced, driver_of, run, say, selection_of
from operant.words import answers_words

Callback = Callable[[training.Progress], bool | None]


def train(
    algorithm: Any = "ppo",
    environment: EnvironmentLike = "CartPole-v1",
    *,
    steps: int | None = None,
    seed: int = 0,
    num_seeds: int = 1,
    num_envs: int | None = None,
    dataset: str | Path | None = None,
    preset: str = "auto",
    backend: str = "auto",
    env_kwargs: dict[str, Any] | None = None,
    evaluate_every: int | None = None,
    stop_at: float | None = None,
    out: str | Path | Literal[True] | None = None,
    log: Sequence[str] = ("tensorboard",),
    device: str = "auto",
    progress: str = "auto",
    callback: Callback | None = None,
    **fields: Any,
) -> Agent | Agents:
    """Train `algorithm` (a name, with its fields as keywords, or an object) on `environment`.

    `steps` are environment transitions over all environments, for each seed. Several seeds (`seed`, `seed + 1`, ...)
    train side by side and come back as `Agents`. `out` is the run's folder, True a new one in `runs/`; without it
    nothing is written.

    A field that is a number may be given several in a list: every combination of them is trained with `num_seeds` seeds
    in one program, and comes back as a `grids.Grid`.

    With a `dataset` (a folder that `export_dataset` wrote, or `minari:ID`) nothing acts: learners from a replay (dqn,
    cql and their relatives) learn from its transitions alone, and `steps` are gradient steps. Presets are left out. The
    environment says what is observed and done, and serves evaluation.

    Where the package has a preset of that name on that environment, its steps, environments and fields take the place
    of the defaults, and it is printed; `preset="none"` leaves it out, and whatever is given overrides its value.

    Every `evaluate_every` steps the greedy policy plays whole episodes on environments and seeds of its own, which
    changes nothing in training; `agent.best` then is the agent of the best evaluation, beside the last. Training ends
    once every seed's evaluation reaches `stop_at` (alone, it evaluates 20 times in the run).

    `log` names where metrics go besides the run's folder: `tensorboard` (events in `out`), `wandb`. `device` is
    `auto`, `cpu` or `gpu`; `progress` is `auto` (a line on a terminal, plain lines without one), `plain` or `none`.

    `callback(progress)` is called between chunks of some tenths of a second with a `core.training.Progress`: steps,
    seconds, speed, the newest rows of metrics and of evaluations; it may return True to stop. Ctrl-C stops and returns
    the agent as it is; SIGTERM saves the run and ends the process.

    Raises `OperantError` for anything that cannot be served, before anything is written, and `DivergedError` where
    training stops being finite.
    """
    entry = catalogue.find(algorithm) if isinstance(algorithm, str) else catalogue.entry_of(algorithm)
    tuned = find_preset(algorithm, environment, preset) if dataset is None else None
    if isinstance(algorithm, str):
        algorithm = make_algorithm(algorithm, fields, tuned)
    elif fields:
        check_words(type(algorithm), fields)
        raise OperantError(f"{', '.join(fields)}: set fields on the algorithm object itself, or give its name")
    if dataset is not None and num_envs is not None:
        raise OperantError("num_envs means nothing with a dataset: no environment is stepped to learn from")
    usual = tuned or entry
    algorithm, grid = grids.split(algorithm)
    settings = Settings(
        steps if steps is not None else usual.steps if usual else 200_000,
        num_envs if num_envs is not None else usual.num_envs if usual else 8,
        seed,
        num_seeds * len(grids.settings_of(grid)) if isinstance(num_seeds, int) else num_seeds,
        backend,
        env_kwargs or {},
        evaluate_every,
        stop_at,
        (log,) if isinstance(log, str) else tuple(log),
        device,
    )
    runtime.prepare()
    name = entry.name if entry else type(algorithm).__name__
    with runtime.on(device) as devices:
        try:
            where = backend, settings.env_kwargs, devices
            count = settings.num_seeds
            members = grids.members_of(algorithm, grid, count) if grid else algorithm
            data = sources.find(dataset) if dataset is not None else None
            driver = driver_of(members, environment, settings.num_envs, count, *where, num_envs, data)
            iterations = math.ceil(settings.steps / driver.steps_per_iteration)
            start = driver.start(seed)
        except OperantError:
            raise
        except Exception as error:
            # The fields came from the user: one that no check foresaw still gets its one line.
            told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise OperantError(f"{name} cannot run on {name_of(environment)} with these settings ({told})") from error
        backend = "compiled" if isinstance(driver.environment, Compiled) else "gymnasium"
        spec = dataclasses.replace(driver.spec, action_space=driver.environment.action_space)
        told_data = description.of_dataset(dataset, data) if dataset is not None and data is not None else None
        about = description.describe(name, algorithm, environment, backend, spec, settings, grid, told_data)
        about["steps"] = iterations * driver.steps_per_iteration
        selection = selection_of(driver, environment, about)
        folder = None
        if out is not None:
            folder = RunFolder.create(None if out is True else Path(out), name, name_of(environment), seed)
            folder.write_description(about)
        if progress != "none" and tuned is not None:
            say(preset_told(tuned, algorithm, settings))
        if progress != "none":
            say(announced(about, settings.steps, driver))
        plan = training.Plan(start, 0, iterations, iterations)
        trained = run(driver, plan, about, folder, environment, selection, progress, callback)
        return grids.gathered(trained, grid)


def driver_of_run(
    folder: RunFolder, about: dict[str, Any], environment: Any, algorithm: Any, dataset: Any, devices: Any
) -> tuple[Any, Any, dict[str, list[Any]]]:
    """What a run that says `about` was trained with: `(driver, environment, grid)`; what is given replaces its own."""
    algorithm = algorithm if algorithm is not None else description.algorithm_of(about, folder)
    environment = environment if environment is not None else description.environment_of(about, folder)
    kwargs, seeds = None if is_made(environment) else about["env_kwargs"], len(about["seeds"])
    grid = description.grid_of(about, algorithm, folder)
    members = grids.members_of(algorithm, grid, seeds) if grid else algorithm
    data = description.dataset_of(about, dataset, folder)
    where = about["backend"], kwargs, devices
    return driver_of(members, environment, about["num_envs"], seeds, *where, dataset=data), environment, grid


@answers_words
def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    environment: EnvironmentLike | None = None,
    algorithm: Any = None,
    dataset: str | Path | None = None,
    device: str = "auto",
    progress: str = "auto",
    callback: Callback | None = None,
) -> Agent | Agents:
    """Continue the run in `path` from its newest whole checkpoint, to its end or to a new total of `steps`.

    On a compiled environment the result is, bit for bit, that of a run that was never interrupted. Beyond the steps
    that the run began with, schedules hold their last values. A custom environment is passed again, and so is a
    `dataset` that lies elsewhere now. Evaluation and logs are the run's own; a run whose evaluation had reached its
    `stop_at` goes on without it.
    """
    folder = RunFolder.open(Path(path))
    about = description.read(folder)
    runtime.check(device)
    runtime.prepare()
    with runtime.on(device) as devices:
        driver, environment, grid = driver_of_run(folder, about, environment, algorithm, dataset, devices)
        seeds = about["seeds"]
        selection = selection_of(driver, environment, about)
        carry, told, name, warnings = checkpoint.load_newest(folder.checkpoints, driver.template())
        iteration = description.whole(told, "iteration", folder)
        horizon = max(1, description.whole(told, "horizon", folder))
        end = horizon if steps is None else math.ceil(steps / driver.steps_per_iteration)
        if end <= iteration and steps is not None:
            raise OperantError(
                f"{path} has already trained {iteration * driver.steps_per_iteration:,} steps: "
                f"--steps is the new total, not {steps:,}"
            )
        for warning in warnings:
            say(warning)
        say(f"resuming {path} at {int(name):,} steps: {about['steps']:,} -> {end * driver.steps_per_iteration:,}")
        folder.rewind(int(name))
        rows = folder.read_metrics()
        history = [[row for row in rows if row.get("seed") == seed] for seed in seeds]
        about["steps"] = max(end, horizon) * driver.steps_per_iteration
        if selection is not None:
            selection.restore(folder, name, jax.eval_shape(driver.policies, driver.template()), history)
            about["stop_at"] = selection.stop_at
        folder.write_description(about)
        plan = training.Plan(carry, iteration, end, horizon)
        trained = run(driver, plan, about, folder, environment, selection, progress, callback, history)
        return grids.gathered(trained, grid)


@answers_words
def load(
    path: str | Path,
    *,
    which: Literal["last", "best"] = "last",
    environment: EnvironmentLike | None = None,
    algorithm: Any = None,
) -> Agent | Agents:
    """The trained agent (or agents) of a run folder, or of what `agent.save` wrote. Needs no environment.

    `which` is the `last` policy, or (where training was evaluated) the `best` of each seed. `algorithm` must be passed
    where the run was of an algorithm, network or part outside the library.
    """
    if which not in ("last", "best"):
        raise unknown("policy", which, ("last", "best"))
    folder = RunFolder.open(Path(path))
    about = description.read(folder)
    algorithm = algorithm if algorithm is not None else description.algorithm_of(about, folder)
    spaces = tuple(space_from_json(about.get(key)) for key in ("observation_space", "action_space"))
    seeds = about["seeds"]
    if environment is None and not about["external_environment"]:
        environment = about["environment"]
    agent = Agent(algorithm, None, about, spaces, environment)
    with runtime.narrow():
        shapes = jax.eval_shape(lambda: algorithm.init(jax.random.key(0), agent._spec(1)).policy)
        template = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(seeds), *x.shape), x.dtype), shapes)
    best = None
    if checkpoint.latest(folder.best):
        policies, told, _, warnings = checkpoint.load_newest(folder.best, template)
        best = Best(policies, *best_of(told, folder, len(seeds)))
    elif which == "best":
        raise OperantError(f"{path} has no best policy: it was trained without evaluation (--evaluate-every)")
    if best is None or which == "last":
        policies, _, _, warnings = checkpoint.load_newest(folder.policies, template)
    for warning in warnings:
        say(warning)
    rows = folder.read_metrics()
    history = [[row for row in rows if row.get("seed") == seed] for seed in seeds]
    grid = description.grid_of(about, algorithm, folder)
    members = grids.members_of(algorithm, grid, len(seeds))
    agents = agents_of(members, policies, about, spaces, environment, history, best)
    agents.folder = folder.path
    return grids.gathered(agents, grid)


__all__ = ["Agent", "Agents", "evaluate_policies", "load", "make_algorithm", "over_seeds", "resume", "train"]
