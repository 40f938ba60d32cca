"""Rows of metrics to Weights & Biases (the `wandb` extra), wherever its own variables say (`WANDB_MODE` and others)."""

from importlib import import_module
from pathlib import Path
from typing import Any

from operant.errors import OperantError

PROJECT = "operant"


class Run:
    """One run there for one run here; the number of steps is the metric `steps`, the x axis of all others."""

    def __init__(self, folder: Path | None, description: dict[str, Any], several: bool):
        """A run that is resumed goes on in the same place. Raises `OperantError` where it cannot be opened."""
        self._several = several
        named = {"name": folder.name, "dir": str(folder)} if folder else {}
        try:
            self._run: Any = import_module("wandb").init(
                project=PROJECT, id=description["log_id"], resume="allow", config=description, **named
            )
            self._run.define_metric("*", step_metric="steps")
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise OperantError(
                f"log: Weights & Biases could not be started ({type(error).__name__}: {said})"
            ) from error

    def add(self, row: dict[str, Any]) -> None:
        """One row with its `steps` and `seed`; metrics that are None are left out."""
        suffix = f"/seed_{row['seed']}" if self._several else ""
        values = {f"{name}{suffix}": row[name] for name in row.keys() - {"steps", "seed"} if row[name] is not None}
        self._run.log({"steps": row["steps"], **values})

    def close(self) -> None:
        """Wait until everything has been handed over."""
        self._run.finish()
