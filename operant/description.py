"""What `run.json` says: written by `train`, read by `resume` and `load`."""

import platform
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

from operant import catalogue
from operant.arguments import Settings
from operant.contracts import Spec
from operant.core.data import sources
from operant.core.data.datasets import Dataset
from operant.core.runs.folder import RunFolder
from operant.environments.make import EnvironmentLike, is_external, name_of
from operant.environments.spaces import space_to_json
from operant.errors import CheckpointError, OperantError
from operant.grids import member, members_of, split
from operant.parts.describe import build, fields_of, undescribe
from operant.parts.describe import describe as describe_part

VERSIONS = ("jax", "jaxlib", "equinox", "optax", "gymnasium", "gymnax", "numpy")
# What train writes beyond what every run says; the second group came later, and is not in older runs.
NEEDED = {"num_envs": int, "backend": str, "env_kwargs": dict, "external_environment": bool}
LATER: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "evaluate_every": ((int, type(None)), None),
    "stop_at": ((int, float, type(None)), None),
    "log": (list, ["tensorboard"]),
    "log_id": (str, "run"),
    "grid": (dict, {}),
    "dataset": ((dict, type(None)), None),
}


def describe(
    name: str,
    algorithm: Any,
    environment: EnvironmentLike | Spec,
    backend: str,
    spec: Spec,
    settings: Settings,
    grid: dict[str, list[Any]] | None = None,
    dataset: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that is to be known about a run before it begins, in plain JSON; `steps` are left to the caller.

    `spec` has the actions in the environment's own units; `settings.num_seeds` counts those of all settings of `grid`;
    `dataset` is what `of_dataset` says.
    """
    return {
        "algorithm": name,
        "fields": fields_of(algorithm),
        "grid": {field: describe_part(values) for field, values in (grid or {}).items()},
        "dataset": dataset,
        "environment": "your own environment" if isinstance(environment, Spec) else name_of(environment),
        "backend": backend,
        "external_environment": is_external(environment),
        "env_kwargs": dict(settings.env_kwargs),
        "num_envs": spec.num_envs,
        "seeds": list(range(settings.seed, settings.seed + settings.num_seeds)),
        "evaluate_every": settings.evaluation_steps,
        "stop_at": settings.stop_at,
        "log": list(settings.log),
        "log_id": uuid.uuid4().hex[:12],
        "time_limit": spec.time_limit,
        "observation_space": space_to_json(spec.observation_space),
        "action_space": space_to_json(spec.action_space),
        "versions": {package: version(package) for package in VERSIONS} | {"python": platform.python_version()},
    }


def read(folder: RunFolder) -> dict[str, Any]:
    """What `run.json` says, checked. Raises `CheckpointError` where something is missing or of another type."""
    description = folder.read_description()
    for key, kind in NEEDED.items():
        if type(description.get(key)) is not kind:
            raise CheckpointError(f"{folder.description}: {key!r} is missing or not of type {kind.__name__}")
    if description["num_envs"] < 1:
        raise CheckpointError(f"{folder.description}: 'num_envs' is {description['num_envs']}, not at least 1")
    # Whatever the file says of it: nothing in a run is imported.
    description["external_environment"] |= is_external(description["environment"])
    for key, (kinds, default) in LATER.items():
        if not isinstance(description.setdefault(key, default), kinds):
            raise CheckpointError(f"{folder.description}: {key!r} cannot be {str(description[key])[:40]!r}")
    return description


def algorithm_of(description: dict[str, Any], folder: RunFolder) -> Any:
    """The algorithm that a run says it is of, found in the catalogue. Raises `OperantError` where it is not there."""
    where = str(folder.description)
    if description["algorithm"] not in catalogue.names():
        raise OperantError(f"{where}: {description['algorithm']!r} is not in the catalogue: pass algorithm=")
    return build(catalogue.find(description["algorithm"]).make, description["fields"], where)


def grid_of(description: dict[str, Any], algorithm: Any, folder: RunFolder) -> dict[str, list[Any]]:
    """The values of each field of the grid that a run says it is of; `{}` for one of a single setting."""
    where = f"{folder.description}: grid"
    grid = {name: list(undescribe(values, where)) for name, values in description["grid"].items()}
    try:
        found = split(member(algorithm, grid))[1]
        members_of(algorithm, found, len(description["seeds"]))
    except (AttributeError, TypeError) as error:
        raise CheckpointError(f"{where} is not one of {description['algorithm']}") from error
    return found


def environment_of(description: dict[str, Any], folder: RunFolder) -> str:
    """The id of a run's environment. Raises `OperantError` where it was the user's own (`is_external`)."""
    if description.get("external_environment"):
        raise OperantError(
            f"{folder.path} was trained on your own {description['environment']}: pass it again "
            "(environment=, or --environment my_package:MyEnv-v0)"
        )
    return description["environment"]


def of_dataset(source: str | Path, dataset: Dataset) -> dict[str, Any]:
    """What a run says of the dataset that it learns from."""
    named = isinstance(source, str) and source.startswith(sources.MINARI)
    where = str(source) if named else str(Path(source).resolve())
    return {"source": where, "sha256": dataset.digest(), "rows": dataset.rows}


def dataset_of(description: dict[str, Any], given: str | Path | None, folder: RunFolder) -> Dataset | None:
    """The dataset that a run learns from, where it was or where it is `given` now; None where it learns by acting.

    Raises `OperantError` where there is none, or another one.
    """
    told = description["dataset"]
    if told is None and given is not None:
        raise OperantError(f"{folder.path} learns by acting, and from no dataset")
    if told is None:
        return None
    source = given if given is not None else str(told.get("source"))
    try:
        dataset = sources.find(source)
    except OperantError as error:
        if given is not None:
            raise
        raise OperantError(f"{error}; if {folder.path}'s dataset lies elsewhere now, --dataset says where") from error
    if dataset.digest() != told.get("sha256"):
        raise OperantError(f"{source} is not the dataset that {folder.path} has learned from")
    return dataset


def whole(told: dict[str, Any], key: str, folder: RunFolder) -> int:
    """A whole number that a checkpoint's manifest says."""
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise OperantError(f"{folder.checkpoints}: the newest checkpoint does not say its {key}")
    return value
