"""Where rows of metrics go besides `metrics.jsonl`: TensorBoard, and Weights & Biases."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from operant.core.runs.folder import RunFolder
from operant.core.runs.journal import Logger
from operant.core.runs.tensorboard import Board
from operant.errors import OperantError, unknown

LOGGERS = ("tensorboard", "wandb")


def check(log: Sequence[str]) -> None:
    """Raise `OperantError` for a logger that is unknown or not installed."""
    for name in log:
        if name not in LOGGERS:
            raise unknown("logger", str(name), LOGGERS)
        if name == "wandb" and importlib.util.find_spec("wandb") is None:
            raise OperantError("log: Weights & Biases is not installed: pip install 'operant[wandb]'")


def start(log: Sequence[str], folder: RunFolder | None, description: dict[str, Any], resumed_at: int) -> list[Logger]:
    """The loggers named in `log`; TensorBoard's events need a run folder, and are left out without one."""
    loggers: list[Logger] = []
    several = len(description["seeds"]) > 1
    if "tensorboard" in log and folder is not None:
        loggers.append(Board(folder.path, resumed_at, several))
    if "wandb" in log:
        from operant.core.runs.weights_and_biases import Run

        loggers.append(Run(folder.path if folder else None, description, several))
    return loggers
