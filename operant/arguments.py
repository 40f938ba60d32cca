"""What `train` was asked for, checked before anything is made or written."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operant import catalogue, presets
from operant.core import runtime
from operant.core.runs import loggers
from operant.errors import OperantError, unknown
from operant.parts.describe import build
from operant.parts.schedules import Schedule, format_scalar
from operant.presets import Preset
from operant.words import unknown_word

PRESETS = ("auto", "none")
EVALUATIONS = 20  # in a run, where a return to stop at is given but not how often to look


@dataclass(frozen=True)
class Settings:
    """How to train, whatever the algorithm. Raises `OperantError` for a value that makes no sense."""

    steps: int
    num_envs: int
    seed: int = 0
    num_seeds: int = 1
    backend: str = "auto"
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluate_every: int | None = None
    stop_at: float | None = None
    log: tuple[str, ...] = ("tensorboard",)
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "num_envs", "num_seeds"):
            _check_whole(name, getattr(self, name), 1)
        if self.evaluate_every is not None:
            _check_whole("evaluate_every", self.evaluate_every, 0)
        if not _is_whole(self.seed) or not 0 <= self.seed < 2**31:
            raise OperantError(f"seed must be a whole number from 0 to 2147483647, not {self.seed!r}")
        stop_at = self.stop_at
        if stop_at is not None and (isinstance(stop_at, bool) or not isinstance(stop_at, int | float)):
            raise OperantError(f"stop_at must be a number, not {stop_at!r}")
        if stop_at is not None and not math.isfinite(stop_at):
            raise OperantError(f"stop_at must be finite, not {stop_at!r}")
        if stop_at is not None and self.evaluate_every == 0:
            raise OperantError("stop_at needs evaluations: leave evaluate_every out, or give it a number of steps")
        runtime.check(self.device)
        loggers.check(self.log)

    @property
    def evaluation_steps(self) -> int | None:
        """Steps between two evaluations, None without any."""
        if self.evaluate_every is None and self.stop_at is not None:
            return max(1, self.steps // EVALUATIONS)
        return self.evaluate_every or None


# What `train` takes besides an algorithm's fields.
ARGUMENTS = (
    *("algorithm", "environment", "preset", "out", "progress", "callback"),
    *(field.name for field in dataclasses.fields(Settings)),
)


def make_algorithm(name: str, fields: dict[str, Any], preset: Preset | None = None) -> Any:
    """The algorithm called `name` with `fields`, and all others as the preset (or the algorithm's own default) says.

    An unknown field is an `OperantError` with the nearest one.
    """
    entry = catalogue.find(name)
    check_words(entry.make, fields)
    told = preset.fields if preset else {}
    tuned = build(entry.make, told, f"preset of {name}")
    return dataclasses.replace(entry.default(), **{field: getattr(tuned, field) for field in told} | fields)


def find_preset(algorithm: Any, environment: Any, preset: str) -> Preset | None:
    """The preset to be used: of an algorithm given by name, where there is one and `preset` is not `none`."""
    if preset not in PRESETS:
        raise unknown("preset", str(preset), PRESETS)
    return presets.find(algorithm.lower(), environment) if isinstance(algorithm, str) and preset == "auto" else None


def preset_told(preset: Preset, algorithm: Any, settings: "Settings") -> str:
    """What of a preset is in effect: `preset ppo CartPole-v1: steps 200,000, num_envs 8, learning_rate 0.001`."""
    tuned = make_algorithm(preset.algorithm, {}, preset)
    numbers = {"steps": preset.steps, "num_envs": preset.num_envs}
    used = [f"{name} {value:,}" for name, value in numbers.items() if getattr(settings, name) == value]
    for name in preset.fields:
        if (value := getattr(algorithm, name)) == getattr(tuned, name):
            used.append(f"{name} {format_scalar(value) if isinstance(value, float | Schedule) else value}")
    return f"preset {preset.algorithm} {preset.environment}: {', '.join(used) or 'all of it overridden'}"


def check_words(cls: type, fields: dict[str, Any]) -> None:
    """Raise `OperantError` for a field that `cls` does not have."""
    known = [field.name for field in dataclasses.fields(cls)]
    for name in fields:
        if name not in known:
            raise unknown_word(f"field of {cls.__name__}", name, [*known, *ARGUMENTS])


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_whole(name: str, value: Any, least: int) -> None:
    if not _is_whole(value) or value < least:
        raise OperantError(f"{name} must be a whole number of at least {least}, not {value!r}")
