"""What a run leaves behind while it trains: rows of metrics, wherever they are wanted, and checkpoints."""

from collections.abc import Sequence
from typing import Any, Protocol

from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder


class Logger(Protocol):
    """Somebody who wants the rows of metrics too."""

    def add(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Journal:
    """Keeps the rows of each seed; with a folder it writes them there, and the checkpoints."""

    def __init__(
        self,
        seeds: list[int],
        folder: RunFolder | None = None,
        loggers: Sequence[Logger] = (),
        history: list[list[dict[str, Any]]] | None = None,
    ):
        self.seeds, self.folder, self.loggers = seeds, folder, loggers
        self.history = history or [[] for _ in seeds]  # rows by seed

    def add(self, rows: list[dict[str, Any]]) -> None:
        """One row a seed, each with its `steps` and `seed`."""
        for told, row in zip(self.history, rows, strict=True):
            told.append(row)
            if self.folder is not None:
                self.folder.append_metrics(row)
            for logger in self.loggers:
                logger.add(row)

    def save(self, driver: Any, carry: Any, best: Any, iteration: int, horizon: int) -> None:
        """A checkpoint of everything that the run is at `iteration`; `best` are the best policies, or None."""
        if self.folder is None:
            return
        name, told = f"{iteration * driver.steps_per_iteration:015d}", {"iteration": iteration, "horizon": horizon}
        # The policies apart, so that an agent can be loaded without its environment or its replay; the carry last, so
        # that whatever a run is resumed from has its policies beside it.
        if best is not None:
            checkpoint.save(self.folder.best, name, best.policies, {"steps": best.steps, "means": best.means})
            checkpoint.prune(self.folder.best)
        checkpoint.save(self.folder.policies, name, driver.policies(carry), told)
        checkpoint.save(self.folder.checkpoints, name, carry, told)
        checkpoint.prune(self.folder.policies)
        checkpoint.prune(self.folder.checkpoints)

    def close(self) -> None:
        for logger in self.loggers:
            logger.close()
