"""Presets: what an algorithm is best told on an environment, and the return that it then reaches.

One file an algorithm, `<name>.yaml`, with an entry for each environment:

    CartPole-v1:
      steps: 200_000          # environment transitions over all environments
      num_envs: 8
      fields:                 # those that differ from the algorithm's defaults, as a run.json writes them
        learning_rate: 0.001
      gate:                   # what benchmarks/learning.py measures, and `make verify` demands
        return: 475           # the lower end of the 95 % interval over seeds is not below it
        seeds: 10
        backends: [compiled]
        source: where the number comes from
        long: true            # hours on a few cores: measured only where its name is given
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Gate:
    """What a preset is held to."""

    score: float  # of the interval over seeds (each the mean return of 100 greedy episodes) the lower end
    seeds: int
    backends: tuple[str, ...]
    source: str
    long: bool = False  # hours on a few cores: measured only where its name is given


@dataclass(frozen=True)
class Preset:
    """Settings of one algorithm on one environment."""

    algorithm: str
    environment: str
    steps: int
    num_envs: int
    fields: dict[str, Any]  # described, for `parts.describe.build`
    gate: Gate


def find(algorithm: str, environment: Any) -> Preset | None:
    """The preset of an algorithm's name and an environment's id; None where there is none."""
    return of(algorithm).get(environment) if isinstance(environment, str) else None


@functools.cache
def of(algorithm: str) -> dict[str, Preset]:
    """The presets of an algorithm by environment."""
    file = files(__name__) / f"{algorithm}.yaml"
    if not file.is_file():
        return {}
    import yaml

    presets = {}
    for environment, told in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        gate = told["gate"]
        told_of = gate["seeds"], tuple(gate["backends"]), gate["source"], gate.get("long", False)
        held = Gate(float(gate["return"]), *told_of)
        fields = told.get("fields", {})
        presets[environment] = Preset(algorithm, environment, told["steps"], told["num_envs"], fields, held)
    return presets


def every() -> Iterator[Preset]:
    """All presets there are."""
    for name in sorted(file.name for file in files(__name__).iterdir()):
        if name.endswith(".yaml"):
            yield from of(name.removesuffix(".yaml")).values()
