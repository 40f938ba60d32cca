"""Datasets by the names that users give them."""

from pathlib import Path

from operant.core.data import from_minari
from operant.core.data.datasets import Dataset
from operant.errors import OperantError

MINARI = "minari:"


def find(source: str | Path) -> Dataset:
    """The dataset that a user names: a folder, or `minari:ID`. Raises `OperantError`."""
    if not isinstance(source, str | Path):
        kind = type(source).__name__
        raise OperantError(f"a dataset is named by its folder, or minari:ID, not {kind}: save it first")
    if isinstance(source, str) and source.startswith(MINARI):
        return from_minari.load(source.removeprefix(MINARI))
    return Dataset.load(source)
