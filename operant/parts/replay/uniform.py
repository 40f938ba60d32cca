"""Experience replay (Lin 1992; Mnih et al. 2015): past rows, usually transitions, drawn from uniformly.

How rows are drawn is the replay's part, how they are kept the storage's (`parts.replay.storage`).
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import PyTree
from operant.errors import OperantError
from operant.parts.component import component, shape
from operant.parts.replay.storage import Storage, Whole, later


class Draw(NamedTuple):
    """A minibatch as it was drawn: which rows, and what each counts."""

    index: Array  # int32 [batch]
    weights: Array | None = None  # [batch], None where all count alike
    pushes: Any = ()  # the pushes before it, where rows are to be found again


@shape("a replay (a component with init, push, draw, rows, later, update, size and shared)")
@runtime_checkable
class Replay(Protocol):
    """A replay of `capacity` transitions; its state is arrays alone."""

    @property
    def capacity(self) -> int: ...

    def init(self, example: PyTree, block: int, streams: int = 1) -> Any:
        """An empty replay for rows like `example`; a push brings `block`, in turn from each of `streams`."""
        ...

    def push(self, state: Any, batch: PyTree) -> Any:
        """Write `batch`, leaves `[block, ...]`, over the oldest rows."""
        ...

    def draw(self, state: Any, key: Array, batch_size: int, progress: Array) -> Draw:
        """Which rows to learn from. Consumes `key`."""
        ...

    def rows(self, state: Any, index: Array) -> PyTree:
        """The rows at `index` int32 `[...]`, leaves `[..., *shape]`."""
        ...

    def later(self, state: Any, index: Array, count: Array | int) -> tuple[Array, Array]:
        """The index of the row pushed `count` rows after each of `index`, and whether there is one yet."""
        ...

    def update(self, state: Any, draw: Draw, priorities: Array) -> Any:
        """What was learned of the rows of `draw`: how much each is still worth learning from, `[batch]`."""
        ...

    def size(self, state: Any) -> Array:
        """How many rows are filled, int32."""
        ...

    def shared(self, state: Any) -> PyTree:
        """Which leaves of `state` only pushes change, as a storage says it (`parts.replay.storage`)."""
        ...


@component
class Uniform:
    """Replay of at least the last `capacity` transitions, each equally likely to be drawn."""

    capacity: int
    storage: Storage = Whole()

    def init(self, example: PyTree, block: int, streams: int = 1) -> Any:
        """An empty ring for transitions like `example`.

        `block`: how many rows each push brings, time by time, one from each of `streams`. The capacity is rounded up
        to a multiple of it. Raises `OperantError` where capacity or block is not positive, or the example holds no
        array.
        """
        if self.capacity < 1 or block < 1:
            raise OperantError(f"replay needs a positive capacity and block, not {self.capacity} and {block}")
        return self.storage.init(example, self.capacity, block, streams)

    def push(self, state: Any, batch: PyTree) -> Any:
        """Write `batch`, leaves `[block, ...]`, over the oldest block."""
        return self.storage.push(state, batch)

    def draw(self, state: Any, key: Array, batch_size: int, progress: Array | float = 0.0) -> Draw:
        """`batch_size` rows, uniformly with replacement from those filled. Consumes `key`.

        From an empty ring it draws a row of zeros: the caller's warm-up prevents that.
        """
        number = jax.random.randint(key, (batch_size,), 0, self.size(state))
        if not self.storage.spare(state):
            return Draw(number)
        ring = self.storage.ring(state)  # those to be drawn are the newest
        return Draw((ring.cursor * ring.block - self.size(state) + number) % (ring.blocks * ring.block))

    def rows(self, state: Any, index: Array) -> PyTree:
        """The rows at `index` int32 `[...]`, leaves `[..., *shape]`."""
        return self.storage.rows(state, index)

    def later(self, state: Any, index: Array, count: Array | int) -> tuple[Array, Array]:
        """The index of the row pushed `count` rows after each of `index`, and whether there is one yet."""
        return later(self.storage.ring(state), index, count)

    def update(self, state: Any, draw: Draw, priorities: Array) -> Any:
        """Nothing: every row stays equally likely."""
        return state

    def size(self, state: Any) -> Array:
        """How many rows there are to be drawn, int32."""
        ring = self.storage.ring(state)
        return jnp.minimum(ring.filled, ring.blocks - self.storage.spare(state)) * ring.block

    def shared(self, state: Any) -> PyTree:
        """The storage's."""
        return self.storage.shared(state)
