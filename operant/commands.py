"""What the commands do, once their arguments are read. People read standard error, programs standard output."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from operant import api, catalogue
from operant.agent import Agent, Agents, over_seeds
from operant.core.episodes import record
from operant.core.plots import plot_curve
from operant.core.runs import RunFolder
from operant.core.statistics import Evaluation
from operant.core.training import TrainingError
from operant.errors import OperantError

# The filters of `operant algorithms`: those that ..., and the test.
FILTERS: dict[str, tuple[str, Any]] = {
    "model_free": ("need no model of the world", lambda entry: not entry.model),
    "model_based": ("have a model of the world", lambda entry: entry.model),
    "value": ("learn values", lambda entry: "value" in entry.learns),
    "policy": ("learn a policy", lambda entry: "policy" in entry.learns),
    "on_policy": ("learn from their own latest data", lambda entry: entry.data == "on-policy"),
    "off_policy": ("learn from older data too", lambda entry: entry.data == "off-policy"),
    "mc": ("update from whole returns", lambda entry: "MC" in entry.update),
    "td": ("update by bootstrapping", lambda entry: "TD" in entry.update),
    "discrete": ("choose among finitely many actions", lambda entry: "discrete" in entry.actions),
    "continuous": ("choose real numbers", lambda entry: "continuous" in entry.actions),
}


def train(algorithm: Any, environment: str, values: dict[str, Any]) -> int:
    agents = api.train(
        algorithm,
        environment,
        steps=values["steps"],
        seed=values["seed"],
        num_seeds=values["num_seeds"],
        num_envs=values["num_envs"],
        backend=values["backend"],
        env_kwargs=dict(values["env_kwargs"]),
        out=values["out"] or True,
    )
    return _finish(agents, None, values)


def resume(values: dict[str, Any]) -> int:
    agents = api.resume(values["directory"], steps=values["steps"], environment=values["environment"])
    return _finish(agents, values["environment"], values)


def evaluate(values: dict[str, Any]) -> int:
    agents = api.load(values["directory"], environment=values["environment"])
    each = _evaluate(agents, values["episodes"], values["seed"], values["environment"])
    _show(agents, each)
    if values["json"]:
        _print_json(_facts(agents) | {"out": values["directory"], "evaluation": _told(each)})
    return 0


def watch(values: dict[str, Any]) -> int:
    agent = _members(api.load(values["directory"], environment=values["environment"]))[0]
    path = RunFolder(Path(values["directory"])).episode
    if note := record(agent, path, values["environment"]):
        raise OperantError(note)
    print(path)
    return 0


def algorithms(values: dict[str, Any]) -> int:
    tests = [test for name, (_, test) in FILTERS.items() if values[name]]
    entries = [entry for entry in catalogue.ENTRIES if all(test(entry) for test in tests)]
    if values["json"]:
        columns = ("name", "learns", "data", "update", "actions", "model", "summary", "steps", "num_envs")
        _print_json({"algorithms": [{column: getattr(entry, column) for column in columns} for entry in entries]})
        return 0
    table = Table("algorithm", "learns", "data", "update", "actions", "", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.name, entry.learns, entry.data, entry.update, entry.actions, entry.summary)
    console().print(table)
    console().print("operant train NAME --help shows an algorithm's fields", style="dim")
    return 0


def environments(backend: str, as_json: bool) -> int:
    from operant.environments.make import compiled_names, gymnasium_names

    sides = {"compiled": compiled_names, "gymnasium": gymnasium_names}
    known = {side: names() for side, names in sides.items() if backend in ("auto", side)}
    every = sorted({name for names in known.values() for name in names}, key=str.lower)
    rows = {name: [side for side, names in known.items() if name in names] for name in every}
    if as_json:
        _print_json({"environments": rows})
        return 0
    table = Table("environment", "backends (the first is taken)", box=None, pad_edge=False)
    for name, backends in rows.items():
        table.add_row(name, ", ".join(backends))
    console().print(table)
    return 0


def console() -> Console:
    """Standard error as it is now, for people."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _finish(agents: Agent | Agents, environment: str | None, values: dict[str, Any]) -> int:
    """After training: evaluation, pictures, and what to do next."""
    outcome, folder = agents.outcome, RunFolder(agents.folder or Path())
    if outcome.signal:
        return 128 + outcome.signal
    try:
        each = _evaluate(agents, values["episodes"], 0, environment)
    except Exception as error:
        raise TrainingError(f"evaluation failed ({error}); the trained run is kept in {folder.path}") from error
    _show(agents, each)
    told = _told(each)
    folder.write_description(folder.read_description() | {"evaluation": told})
    rows = [
        [*agent.history, {"steps": outcome.progress.steps, "evaluation/mean": result.mean}]
        for agent, result in zip(_members(agents), each, strict=True)
    ]
    facts = _facts(agents)
    plot_curve(folder.curve, rows, f"{facts['algorithm']} on {facts['environment']}")
    note = None if values["no_gif"] else record(_members(agents)[0], folder.episode, environment)
    if note:
        console().print(note, style="dim", markup=False)
    console().print(f"saved in {folder.path}", markup=False)
    console().print(f"  operant watch {folder.path}", markup=False)
    console().print(f"  operant resume {folder.path} --steps {2 * outcome.progress.steps}", markup=False)
    if values["json"]:
        progress = outcome.progress
        speed = {
            "seconds": round(progress.seconds, 3),
            "compile_seconds": round(progress.compile_seconds, 3),
            "steps_per_second": round(progress.steps_per_second, 1),
        }
        _print_json(facts | {"steps": progress.steps, "out": str(folder.path), **speed, "evaluation": told})
    return 0


def _evaluate(agents: Agent | Agents, episodes: int, seed: int, environment: str | None) -> list[Evaluation]:
    if isinstance(agents, Agents):
        return agents.evaluate_each(episodes, seed, environment)
    return [agents.evaluate(episodes, seed, environment)]


def _members(agents: Agent | Agents) -> list[Agent]:
    return list(agents) if isinstance(agents, Agents) else [agents]


def _facts(agents: Agent | Agents) -> dict[str, Any]:
    members = _members(agents)
    seeds = [seed for agent in members for seed in agent.description["seeds"]]
    return {key: members[0].description[key] for key in ("algorithm", "environment", "steps")} | {"seeds": seeds}


def _told(each: list[Evaluation]) -> dict[str, Any]:
    """The evaluation as recorded: for several seeds the interval over seeds, and each seed's mean."""
    told = over_seeds(each).to_json() | {"episodes": sum(result.episodes for result in each)}
    return told if len(each) == 1 else told | {"per_seed": [result.to_json()["mean"] for result in each]}


def _show(agents: Agent | Agents, each: list[Evaluation]) -> None:
    table = Table("", "episodes", "mean", "IQM", "95 % interval", box=None, pad_edge=False, title_justify="left")
    seeds = _facts(agents)["seeds"]
    rows = [(f"seed {seed}", result.episodes, result) for seed, result in zip(seeds, each, strict=True)]
    if len(each) > 1:
        rows.append((f"over {len(each)} seeds", sum(result.episodes for result in each), over_seeds(each)))
    for name, episodes, result in rows:
        interval = f"{result.low:.1f} to {result.high:.1f}"
        table.add_row(name, str(episodes), f"{result.mean:.1f}", f"{result.iqm:.1f}", interval)
    console().print("evaluation, greedy policy, episode return")
    console().print(table)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False), flush=True)
