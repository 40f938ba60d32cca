"""Grids: several values of an algorithm's numbers, every combination trained in one program.

A field that is data (it may change without another program) may hold a list of values in the place of one. Each
combination is a setting, trained with seeds of its own: setting k of n seeds each has the seeds from k n on.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from operant.agent import Agent, Agents, over_seeds
from operant.core.statistics import Evaluation
from operant.environments.make import EnvironmentLike
from operant.errors import OperantError
from operant.parts.component import data_fields, is_component
from operant.parts.schedules import Schedule, format_scalar

LARGEST = 10_000  # settings


def split(algorithm: Any) -> tuple[Any, dict[str, list[Any]]]:
    """`algorithm` with the first value of each field that holds several, and all of them by the field's dotted name.

    Raises `OperantError` where a field that is structure holds a list, or values of one field would be different
    programs (a number and a schedule, or none).
    """
    return _split(algorithm, "") if dataclasses.is_dataclass(algorithm) else (algorithm, {})


def settings_of(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid's values, the last field varying fastest; of no grid the one empty setting."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def member(base: Any, setting: dict[str, Any]) -> Any:
    """`base` with the values of `setting`, whose names may be dotted."""
    for name, value in setting.items():
        first, _, rest = name.partition(".")
        base = dataclasses.replace(base, **{first: member(getattr(base, first), {rest: value}) if rest else value})
    return base


def members_of(base: Any, grid: dict[str, list[Any]], count: int) -> list[Any]:
    """The algorithm of each of `count` seeds, setting by setting. Raises `OperantError` where they are not as many."""
    settings = settings_of(grid)
    if count % len(settings):
        raise OperantError(f"{count} seeds cannot be shared by {len(settings)} settings")
    return [each for setting in settings for each in [member(base, setting)] * (count // len(settings))]


def written(setting: dict[str, Any]) -> dict[str, str]:
    """A setting as it is typed."""
    return {
        name: format_scalar(value) if isinstance(value, Schedule) else f"{value:g}" for name, value in setting.items()
    }


def _split(part: Any, prefix: str) -> tuple[Any, dict[str, list[Any]]]:
    grid: dict[str, list[Any]] = {}
    changes, data = {}, data_fields(type(part)) if is_component(part) else ()
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name, None), prefix + field.name
        if is_component(value) and field.init:
            changes[field.name], inner = _split(value, name + ".")
            grid |= inner
        elif isinstance(value, list | np.ndarray) or (isinstance(value, tuple) and field.name in data):
            values = list(value)
            _check(name, values, field.name in data)
            changes[field.name], grid[name] = values[0], values
    count = int(np.prod([len(values) for values in grid.values()]))
    if count > LARGEST:
        raise OperantError(f"a grid of {count:,} settings is more than one program can hold ({LARGEST:,})")
    return (dataclasses.replace(part, **changes) if grid else part), grid


def _check(name: str, values: list[Any], data: bool) -> None:
    if not data:
        raise OperantError(
            f"{name} cannot be in a grid: each of its values is another program; grids are over numbers inside one, "
            "such as learning_rate"
        )
    if len({type(value) if is_component(value) else value is None for value in values}) > 1:
        raise OperantError(f"{name}: a grid's values must be alike, all numbers or all one kind of schedule")
    if len({str(value) for value in values}) < max(len(values), 1):
        raise OperantError(f"{name}: a grid needs values, each of them once")


def gathered(agents: Agent | Agents, grid: dict[str, list[Any]]) -> "Agent | Agents":
    """`agents` as they are, or as a `Grid` where there is one."""
    if not grid:
        return agents
    found = Grid(list(agents) if isinstance(agents, Agents) else [agents], settings_of(grid))
    found.outcome, found.folder = agents.outcome, agents.folder
    return found


class Grid(Agents):
    """The agents of a grid, setting by setting; each setting's are its seeds."""

    def __init__(self, members: Sequence[Agent], settings: Sequence[dict[str, Any]]):
        super().__init__(members)
        self.settings = list(settings)

    def of(self, number: int) -> Agents:
        """The agents of setting `number`."""
        return Agents(self.grouped(list(self))[number])

    def evaluate_settings(
        self, episodes: int = 100, seed: int = 0, environment: EnvironmentLike | None = None
    ) -> list[Evaluation]:
        """One evaluation a setting, its interval over seeds. The highest of them flatters its setting."""
        return [over_seeds(group) for group in self.grouped(self.evaluate_each(episodes, seed, environment))]

    def grouped(self, each: Sequence[Any]) -> list[Any]:
        """What there is for each agent, setting by setting."""
        seeds = len(self) // len(self.settings)
        return [each[first : first + seeds] for first in range(0, len(self), seeds)]

    def __repr__(self) -> str:
        return f"Grid({len(self.settings)} settings of {len(self) // len(self.settings)} x {self[0]!r})"
