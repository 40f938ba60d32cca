"""Datasets in Minari's format (Farama Foundation), read through its own library."""

import functools
from typing import Any

import jax
import numpy as np

from operant.core.data.datasets import Dataset
from operant.errors import OperantError

INSTALL = "pip install 'operant[offline]'"


def load(identifier: str) -> Dataset:
    """The dataset called `identifier`, which is installed on this machine; nothing is downloaded.

    An episode that ends neither way was cut where it was recorded: its last row is `truncated`, with the observation
    that followed. Raises `OperantError`, in one line, without the library or the dataset, and where it is damaged.
    """
    try:
        import minari  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise OperantError(f"minari:{identifier} needs Minari ({error}): {INSTALL}") from None
    try:
        found = minari.load_dataset(identifier, download=False)
        parts = [_columns(episode) for episode in found.iterate_episodes()]
        seen, done = found.observation_space, found.action_space
    except FileNotFoundError:
        hint = f"it is not here (minari download {identifier})"
        raise OperantError(f"minari:{identifier} cannot be read: {hint}") from None
    except Exception as error:  # its own, HDF5's and Gymnasium's
        told = str(error).strip().partition("\n")[0]
        raise OperantError(f"minari:{identifier} cannot be read ({type(error).__name__}: {told})") from error
    if not parts:
        raise OperantError(f"minari:{identifier} has no episode")
    columns = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return Dataset(seen, done, about={"minari": identifier}, **columns)


def _columns(episode: Any) -> dict[str, Any]:
    """An episode's T transitions; it holds T + 1 observations."""
    part = functools.partial(jax.tree.map, np.asarray)
    terminated, truncated = part(episode.terminations).astype(bool), part(episode.truncations).astype(bool)
    truncated[-1] |= not terminated[-1]
    seen = part(episode.observations)
    return {
        "observation": jax.tree.map(lambda leaf: leaf[:-1], seen),
        "action": part(episode.actions),
        "reward": part(episode.rewards),
        "terminated": terminated,
        "truncated": truncated,
        "next_observation": jax.tree.map(lambda leaf: leaf[1:], seen),
    }
