"""The end of training and evaluation, for people and for programs: the table, the pictures, what to do next."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.table import Table

from operant.agent import Agent, Agents, over_seeds
from operant.algorithms.policy.random import Random
from operant.commands.output import console, print_json
from operant.commands.tables import cells, described, show_grid, summarised, told_setting
from operant.core.runs.folder import RunFolder
from operant.core.showing.episodes import record
from operant.core.showing.plots import plot_curve, plot_settings
from operant.core.statistics import Evaluation
from operant.core.training import TrainingError
from operant.grids import Grid, written

RANDOM_EPISODES = 20  # enough to see where zero is
FRESH = 1_000_000  # the seed of episodes that no setting was picked by


def finish(agents: Agent | Agents, environment: str | None, values: dict[str, Any]) -> int:
    """After training: evaluation, pictures, and what to do next."""
    outcome, folder = agents.outcome, RunFolder(agents.folder or Path())
    if outcome.signal:
        return 128 + outcome.signal
    try:
        each = evaluate(agents, values["episodes"], 0, environment)
    except Exception as error:
        raise TrainingError(f"evaluation failed ({error}); the trained run is kept in {folder.path}") from error
    random = random_of(agents, values["episodes"], 0, environment)
    show(agents, each, random)
    picked = pick(agents, each, values["episodes"], environment) if isinstance(agents, Grid) else {}
    if members_of(agents)[0].best is not None and not isinstance(agents, Grid):
        steps = ", ".join(f"{agent.best_steps:,}" for agent in members_of(agents))
        console().print(f"best evaluation in training after {steps} steps: operant evaluate {folder.path} --which best")
    told = told_of(agents, each) | picked
    folder.write_description(folder.read_description() | {"evaluation": told} | beside(random))
    rows = [
        [*agent.history, {"steps": outcome.progress.steps, "evaluation/mean": result.mean}]
        for agent, result in zip(members_of(agents), each, strict=True)
    ]
    facts = facts_of(agents)
    title = f"{facts['algorithm']} on {facts['environment']}"
    if isinstance(agents, Grid):
        plot_settings(folder.curve, agents.grouped(rows), [told_setting(each) for each in agents.settings], title)
    else:
        plot_curve(folder.curve, rows, title)
    note = None if values["no_gif"] else record(members_of(agents)[0], folder.episode, environment)
    if note:
        console().print(note, style="dim", markup=False)
    # An environment that imports a module is named again by the user each time.
    again = f" --environment {facts['environment']}" if ":" in facts["environment"] else ""
    console().print(f"saved in {folder.path}", markup=False)
    console().print(f"  operant watch {folder.quoted}{again}", markup=False)
    console().print(f"  operant resume {folder.quoted}{again} --steps {2 * outcome.progress.steps}", markup=False)
    if values["json"]:
        progress = outcome.progress
        speed = {
            "seconds": round(progress.seconds, 3),
            "compile_seconds": round(progress.compile_seconds, 3),
            "steps_per_second": round(progress.steps_per_second, 1),
        }
        print_json(
            facts | {"steps": progress.steps, "out": str(folder.path), **speed, "evaluation": told} | beside(random)
        )
    return 0


def evaluate(agents: Agent | Agents, episodes: int, seed: int, environment: str | None) -> list[Evaluation]:
    if isinstance(agents, Agents):
        return agents.evaluate_each(episodes, seed, environment)
    return [agents.evaluate(episodes, seed, environment)]


def random_of(agents: Agent | Agents, episodes: int, seed: int, environment: str | None) -> Evaluation | None:
    """How random actions do on a few of the same episodes; None beside an agent that is random itself."""
    agent = members_of(agents)[0]
    if agent.description["algorithm"] == "random":
        return None
    spaces, algorithm = (agent.observation_space, agent.action_space), Random()
    acting = Agent(algorithm, algorithm.init(jax.random.key(0), None).policy, agent.description, spaces)
    acting.environment = agent.environment
    return acting.evaluate(min(episodes, RANDOM_EPISODES), seed, environment)


def beside(random: Evaluation | None) -> dict[str, Any]:
    return {} if random is None else {"random": random.to_json()}


def members_of(agents: Agent | Agents) -> list[Agent]:
    return list(agents) if isinstance(agents, Agents) else [agents]


def facts_of(agents: Agent | Agents) -> dict[str, Any]:
    members = members_of(agents)
    seeds = [seed for agent in members for seed in agent.description["seeds"]]
    return {key: members[0].description[key] for key in ("algorithm", "environment", "steps")} | {"seeds": seeds}


def told_of(agents: Agent | Agents, each: list[Evaluation]) -> dict[str, Any]:
    """The evaluation as recorded: the interval over seeds and each one's mean, of a grid for each setting."""
    if isinstance(agents, Grid):
        groups = zip(agents.settings, agents.grouped(each), strict=True)
        return {"settings": [{"setting": described(setting)} | summarised(group) for setting, group in groups]}
    return summarised(each)


def pick(grid: Grid, each: list[Evaluation], episodes: int, environment: str | None) -> dict[str, Any]:
    """Say which setting was best, and how it does on fresh episodes: the highest of many numbers is too high."""
    groups = grid.grouped(each)
    means = [over_seeds(group).mean for group in groups]
    if not np.isfinite(means).any():
        return {}
    best = int(np.nanargmax(means))
    again = evaluate(grid.of(best), episodes, FRESH, environment)
    fresh, seeds = over_seeds(again), len(again)
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in written(grid.settings[best]).items())
    console().print(
        f"best: {told_setting(grid.settings[best])}, {means[best]:.1f}, which flatters it: this table picked it; "
        f"on fresh episodes {fresh.mean:.1f} ({fresh.low:.1f} to {fresh.high:.1f})"
    )
    after = grid[-1].description["seeds"][0] + 1
    console().print(f"only fresh training is fair to it: {flags} --seed {after} --num-seeds {seeds}")
    return {"best": {"setting": described(grid.settings[best]), "fresh": summarised(again)}}


def show(agents: Agent | Agents, each: list[Evaluation], random: Evaluation | None, which: str = "last") -> None:
    if isinstance(agents, Grid):
        return show_grid(agents, each, random, which)
    table = Table("", "episodes", "mean", "IQM", "95 % interval", box=None, pad_edge=False, title_justify="left")
    seeds = facts_of(agents)["seeds"]
    rows = [(f"seed {seed}", result.episodes, result) for seed, result in zip(seeds, each, strict=True)]
    if len(each) > 1:
        rows.append((f"over {len(each)} seeds", sum(result.episodes for result in each), over_seeds(each)))
    if random is not None:
        rows.append(("random actions", random.episodes, random))
    for name, episodes, result in rows:
        table.add_row(name, str(episodes), *cells(result))
    console().print(f"evaluation of the {which} policy, greedy, episode return")
    console().print(table)
