"""Datasets: transitions that were collected before, episode after episode, in memory and in a folder.

A folder holds one checkpoint (`checkpoint.py`: safetensors files and a sealed manifest), whose description says the
spaces and how many rows there are. Whatever is read may come from anywhere: it is checked, and nothing is executed.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from operant.contracts import Step, Window
from operant.core.runs import checkpoint, manifest
from operant.environments.spaces import in_words, layout, space_from_json, space_to_json
from operant.errors import CheckpointError, OperantError
from operant.parts.encoders import children, example

FORMAT = 1
COLUMNS = ("observation", "action", "reward", "terminated", "truncated", "next_observation")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Transitions `[N, ...]` of NumPy arrays, in the environment's own units and the library's dtypes.

    Row after row is one episode up to a row that is `terminated` or `truncated`, whose `next_observation` is the true
    final one; then the next episode begins. Raises `OperantError` where columns do not fit the spaces or one another.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    observation: Any
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_observation: Any
    about: dict[str, Any] = field(default_factory=dict)  # where it comes from, in plain JSON

    def __post_init__(self) -> None:
        for space in (self.observation_space, self.action_space):
            space_to_json(space)  # raises for what is not served
        rows = len(self.reward) if hasattr(self.reward, "__len__") else 0
        if rows < 1:
            raise OperantError("a dataset needs at least one transition")
        for name, like in template(self.observation_space, self.action_space, rows).items():
            given = getattr(self, name)
            try:
                fits = jax.tree.map(_fits, given, like)
                with np.errstate(over="ignore"):  # told below
                    column = jax.tree.map(lambda a, b: np.asarray(a, b.dtype), given, like)
            except (TypeError, ValueError):
                fits, column = False, given
            if not all(jax.tree.leaves(fits)):
                what = f"{layout(given)}, not {layout(like)}"
                raise OperantError(f"the dataset's {name} does not fit its spaces and its {rows:,} rewards: {what}")
            for leaf, told in zip(jax.tree.leaves(column), jax.tree.leaves(given), strict=True):
                if np.issubdtype(leaf.dtype, np.floating) and not np.isfinite(leaf).all():
                    raise OperantError(f"the dataset's {name} is not finite everywhere")
                if leaf.dtype == bool and (leaf.view(np.uint8) > 1).any():
                    raise OperantError(f"the dataset's {name} has flags that are neither 0 nor 1")
                narrowed = np.issubdtype(leaf.dtype, np.integer) and np.asarray(told).dtype != leaf.dtype
                if narrowed and not np.array_equal(leaf, told):
                    raise OperantError(f"the dataset's {name} has numbers that {leaf.dtype} cannot hold")
            object.__setattr__(self, name, column)
        _check_numbers("observations", self.observation_space, self.observation)
        _check_numbers("next observations", self.observation_space, self.next_observation)
        _check_numbers("actions", self.action_space, self.action)

    def __repr__(self) -> str:
        seen, done = in_words(self.observation_space), in_words(self.action_space)
        return f"Dataset({self.rows:,} rows: observes {seen}; actions {done})"

    @property
    def rows(self) -> int:
        return len(self.reward)

    @property
    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COLUMNS}

    def digest(self) -> str:
        """A hash of all that can be learned from."""
        found = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_flatten_with_path(self.columns)[0]:
            found.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
            found.update(np.ascontiguousarray(leaf).data)
        return found.hexdigest()

    def window(self) -> Window:
        """All of it as one window of one stream, `[N, 1, ...]`, in a learner's units (of discrete actions)."""
        columns = self.columns
        if isinstance(self.action_space, Discrete):
            columns["action"] = self.action - np.int32(self.action_space.start)
        columns["truncated"] = self.truncated.copy()
        columns["truncated"][-1] |= not self.terminated[-1]  # nothing follows
        return Window(
            Step(**jax.tree.map(lambda leaf: leaf[:, None], columns), extras=()),
            (),
            np.zeros(1, np.int32),
            np.int32(0),
        )

    def save(self, path: str | Path) -> Path:
        """Write it into the new or empty folder `path`. Raises `OperantError` where that cannot be done."""
        folder = new_folder(path)
        spaces = {name: space_to_json(getattr(self, name)) for name in ("observation_space", "action_space")}
        description = {"dataset": FORMAT, "rows": self.rows, **spaces, "about": self.about}
        checkpoint.save(folder, str(self.rows), self.columns, description)
        return folder

    @classmethod
    def load(cls, path: str | Path) -> "Dataset":
        """What `save` wrote. Raises `OperantError`, in one line, where it is missing, damaged or anything else."""
        folder = Path(path)
        if (folder / "run.json").is_file():
            raise OperantError(f"{folder} is a run: operant export-dataset makes a dataset of it")
        names = checkpoint.latest(folder)
        if not names:
            raise OperantError(f"{folder} is no dataset: operant export-dataset writes one, minari:ID names Minari's")
        where = folder / names[0]
        told = manifest.read(where)["description"]
        if told.get("dataset") != FORMAT or type(told.get("rows")) is not int or not 0 < told["rows"] < 2**31:
            raise CheckpointError(f"{where / manifest.MANIFEST}: is not the description of a dataset")
        seen, done = (space_from_json(told.get(name)) for name in ("observation_space", "action_space"))
        columns, _ = checkpoint.load(where, template(seen, done, told["rows"]))
        about = told.get("about")
        return cls(seen, done, about=about if isinstance(about, dict) else {}, **columns)


def _fits(given: Any, like: np.ndarray) -> bool:
    """Whether a column has the shape of `like`, and numbers of its kind."""
    return np.shape(given) == like.shape and np.can_cast(np.asarray(given).dtype, like.dtype, "same_kind")


def _check_numbers(what: str, space: gymnasium.Space, column: Any) -> None:
    """Raise `OperantError` where a column of Discrete, MultiDiscrete or MultiBinary has numbers beyond its space."""
    if isinstance(space, Dict | Tuple):
        for name, part in children(space):
            _check_numbers(what, part, column[name])
    elif isinstance(space, Discrete | MultiDiscrete | MultiBinary):
        low, high = (0, 1) if isinstance(space, MultiBinary) else (space.start, space.start + _count(space) - 1)
        if (column < low).any() or (column > high).any():
            raise OperantError(f"the dataset has {what} that are not among {low} to {high}")


def _count(space: Discrete | MultiDiscrete) -> Any:
    return space.n if isinstance(space, Discrete) else space.nvec


def template(observation_space: gymnasium.Space, action_space: gymnasium.Space, rows: int) -> dict[str, Any]:
    """Columns of `rows` rows in the right shapes and dtypes, of no memory."""

    def column(like: Any) -> np.ndarray:
        return np.broadcast_to(np.zeros((), like.dtype), (rows, *like.shape))

    observation = jax.tree.map(column, example(observation_space))
    flag = column(np.bool_(False))
    action, reward = jax.tree.map(column, example(action_space)), column(np.float32(0))
    return dict(zip(COLUMNS, (observation, action, reward, flag, flag, observation), strict=True))


def joined(parts: list[Dataset], about: dict[str, Any]) -> Dataset:
    """Several datasets of the same spaces as one."""
    columns = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.columns for part in parts))
    return dataclasses.replace(parts[0], **columns, about=about)


def new_folder(path: str | Path) -> Path:
    """`path`, where a dataset may be written. Raises `OperantError` where something is there already."""
    folder = Path(path)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise OperantError(f"{folder} is not empty: choose another folder for the dataset")
    return folder
