"""Evaluation while training: how the greedy policy does now, and which policy of each seed was the best so far.

Every evaluation plays the same episodes, so that two of them can be compared. The best of many evaluations is a
flattering number; what a finished run reports is played on other episodes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.core.evaluation import evaluator
from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder
from operant.core.statistics import Evaluation
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.errors import CheckpointError

EPISODES = 20  # in each evaluation, for each seed
SEED = 2**31 - 2_000_000  # far from those that people give


class Best(NamedTuple):
    """The best policy of each seed."""

    policies: Any  # [seeds, ...]
    steps: list[int]  # when it was
    means: list[float | None]  # its mean return; None where no episode has ended yet


class Selection:
    """Evaluates the greedy policies every `every` iterations and keeps the best, first come where they are equal."""

    def __init__(self, algorithm: Any, world: Compiled | Host, seeds: list[int], every: int, stop_at: float | None):
        """`world` is for evaluation alone; training is to stop once every seed's mean return reaches `stop_at`."""
        self.every, self.stop_at = every, stop_at
        self.best: Best | None = None
        self.reached = False
        self.world, self._seeds = world, seeds
        self._evaluate = evaluator(algorithm, world, EPISODES)

    def __call__(self, policies: Any, steps: int) -> list[dict[str, Any]]:
        """Evaluate `policies [seeds, ...]` as they are after `steps`; one row of metrics a seed."""
        results = self._evaluate(policies, SEED)
        self._keep(policies, steps, results)
        self.reached = self._good([result.to_json()["mean"] for result in results])
        return [
            {"steps": steps, "seed": seed, **{f"evaluation/{name}": value for name, value in told(result).items()}}
            for seed, result in zip(self._seeds, results, strict=True)
        ]

    def restore(self, folder: RunFolder, name: str, template: Any, history: list[list[dict[str, Any]]]) -> None:
        """The best policies as they were at the checkpoint called `name`, after the rows of `history`.

        A run that had stopped because it was good enough is resumed to go further: it has no such end any more.
        """
        newest = [[row["evaluation/mean"] for row in rows if "evaluation/mean" in row][-1:] for rows in history]
        if all(newest) and self._good([mean for (mean,) in newest]):
            self.stop_at = None
        if name not in checkpoint.latest(folder.best):
            return  # none had been evaluated
        policies, description = checkpoint.load(folder.best / name, template)
        self.best = Best(policies, *best_of(description, folder, len(self._seeds)))

    def _good(self, means: list[float | None]) -> bool:
        stop_at = self.stop_at
        return stop_at is not None and all(mean is not None and mean >= stop_at for mean in means)

    def _keep(self, policies: Any, steps: int, results: list[Evaluation]) -> None:
        means = [result.to_json()["mean"] for result in results]
        if self.best is None:
            self.best = Best(policies, [steps] * len(means), means)
            return
        pairs = zip(means, self.best.means, strict=True)
        better = np.array([new is not None and (old is None or new > old) for new, old in pairs])

        def choose(new: Any, old: Any) -> Any:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        self.best = Best(
            jax.tree.map(choose, policies, self.best.policies) if better.any() else self.best.policies,
            [steps if b else old for b, old in zip(better, self.best.steps, strict=True)],
            [new if b else old for b, new, old in zip(better, means, self.best.means, strict=True)],
        )


def told(result: Evaluation) -> dict[str, Any]:
    """An evaluation as a row of metrics tells it."""
    mean_length = float(result.lengths.mean()) if result.episodes else None
    return result.to_json() | {"length": mean_length}


def best_of(description: dict[str, Any], folder: RunFolder, seeds: int) -> tuple[list[int], list[float | None]]:
    """When the best policies were, and their mean returns. Raises `CheckpointError` where that is not said."""
    lists = [description.get(key) for key in ("steps", "means")]
    kinds = (int, (int, float, type(None)))
    for values, kind in zip(lists, kinds, strict=True):
        if not isinstance(values, list) or len(values) != seeds or not all(isinstance(v, kind) for v in values):
            raise CheckpointError(f"{folder.best}: does not say when its policies were best")
    return lists[0], lists[1]  # type: ignore[return-value]
