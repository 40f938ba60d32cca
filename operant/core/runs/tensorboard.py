"""TensorBoard events beside a run's metrics, written by a thread of their own.

The writer takes a second to import; in a thread it does so while the first program compiles.
"""

import queue
import threading
from pathlib import Path
from typing import Any


class Board:
    """Rows of metrics as scalars, `<metric>` for one seed and `<metric>/seed_<k>` for several; steps on the x axis."""

    def __init__(self, folder: Path, resumed_at: int, several: bool):
        """Events after step `resumed_at` of an earlier attempt are marked as overwritten."""
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._several = several
        self._thread = threading.Thread(target=self._write, args=(folder, resumed_at), daemon=True)
        self._thread.start()

    def add(self, row: dict[str, Any]) -> None:
        """One row with its `steps` and `seed`; metrics that are None are left out."""
        self._rows.put(row)

    def close(self) -> None:
        """Wait until everything is on disk."""
        self._rows.put(None)
        self._thread.join()

    def _write(self, folder: Path, resumed_at: int) -> None:
        from tensorboardX import SummaryWriter

        try:
            with SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None) as writer:
                while (row := self._rows.get()) is not None:
                    for name in row.keys() - {"steps", "seed"}:
                        if row[name] is not None:
                            tag = f"{name}/seed_{row['seed']}" if self._several else name
                            writer.add_scalar(tag, row[name], row["steps"])
        except OSError:
            # A convenience beside metrics.jsonl, whose own errors do stop the run.
            return
