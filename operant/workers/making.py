"""How an environment is made, as something that can be sent to another process; how long its step takes."""

import copy
import os
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from operant.errors import OperantError
from operant.workers.named import first_line

TIMED_STEPS = 5
PATIENCE = 1.0  # seconds


def constructed(name: str, construct: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    """`construct(**kwargs)`; whatever it raises becomes an `OperantError` of one line."""
    try:
        return construct(**kwargs)
    except OperantError:
        raise
    except Exception as error:
        raise OperantError(f"{name} could not be made: {type(error).__name__}: {first_line(error)}") from error


def step_seconds(environment: gymnasium.Env) -> float | None:
    """The median duration of a few steps with random actions; None where they fail, which is told elsewhere."""
    try:
        actions = copy.deepcopy(environment.action_space)
        actions.seed(0)
        environment.reset()
        environment.step(actions.sample())  # the first one may compile or load something
        taken: list[float] = []
        while len(taken) < TIMED_STEPS and sum(taken) < PATIENCE:
            begun = time.perf_counter()
            _, _, terminated, truncated, _ = environment.step(actions.sample())
            taken.append(time.perf_counter() - begun)
            if terminated or truncated:
                environment.reset()
        return float(np.median(taken))
    except Exception:
        return None


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
