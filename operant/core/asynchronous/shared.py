"""What several actors learn together, in memory that all of them read and change without waiting for one another.

Updates are increments, added to the parameters while others add theirs (Mnih et al. 2016, section 4; Recht et al. 2011,
"Hogwild!"): nobody holds a lock, and two that meet in the same component may lose one of the two increments there.
Components are kept in double precision, where adding the difference of two floats to one gives the other: an actor
that is alone computes what a loop without sharing does, bit for bit (as long as no component shrinks by a factor of
more than 2^29 in one update).

The only thing that is waited for is the number of the next window, for the moment that it takes to count on.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

PATIENCE = 5.0  # seconds; who died while counting holds the lock for ever


class Shared:
    """A vector of parameters and statistics, the windows still to be collected, and each actor's updates so far."""

    def __init__(self, buffer: Any, lock: Any, num_actors: int):
        """`buffer` has `size` bytes, of this process or of several; `lock` is one for the same."""
        words = np.frombuffer(buffer, np.float64)
        counts = words[: num_actors + 2].view(np.int64)
        self._next, self._end, self._updates = counts[:1], counts[1:2], counts[2:]
        self._values, self._lock = words[num_actors + 2 :], lock

    @staticmethod
    def size(length: int, num_actors: int) -> int:
        """The bytes that a vector of `length` components needs."""
        return 8 * (length + num_actors + 2)

    def publish(self, values: np.ndarray, updates: Sequence[int], first: int, end: int) -> None:
        """Begin with `values`; windows `first` to `end` - 1 are to be collected. While every actor rests."""
        self._values[:], self._updates[:] = values, updates
        self._next[0], self._end[0] = first, end

    def claim(self) -> int | None:
        """The number of a window that nobody else collects; None where none is left."""
        if not self._lock.acquire(timeout=PATIENCE):
            return None
        try:
            now = int(self._next[0])
            if now >= self._end[0]:
                return None
            self._next[0] = now + 1
            return now
        finally:
            self._lock.release()

    def halt(self) -> None:
        """No further window is handed out."""
        self._end[0] = 0

    @property
    def updates(self) -> np.ndarray:
        """How many updates each actor has made, `[actors]`."""
        return self._updates.copy()

    def read(self) -> tuple[np.ndarray, int]:
        """The vector as it is now, float32, and how many updates were in it at least."""
        # Counted first: an update that is added meanwhile may be seen or not, and then counts as not seen.
        count = int(self._updates.sum())
        return self._values.astype(np.float32), count

    def note(self, before: np.ndarray, after: np.ndarray) -> None:
        """Write what changed from `before` to `after`: what belongs to one actor, or may be anybody's newest."""
        changed = np.flatnonzero(before != after)
        self._values[changed] = after[changed]

    def add(self, number: int, before: np.ndarray, after: np.ndarray, seen: int) -> int:
        """Add the update from `before` to `after` of actor `number`, who began with `seen` updates: its staleness.

        That is how many updates of others came between its reading and this.
        """
        stale = int(self._updates.sum()) - seen
        self._values += after.astype(np.float64) - before
        self._updates[number] += 1
        return stale
