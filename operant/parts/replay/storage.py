"""How a replay keeps its rows: a ring of blocks, packed into one array for each dtype.

The ring lives in the learner's state, so it is the carry of a compiled loop and must be updated in place: it is
only ever carried, written once per step by a `dynamic_update_slice` that cannot wrap around, and read by a
gather after the write. Keep it so: push outside any `lax.cond`, never return the ring from a branch (a loop that may
run no times carries it without a copy), and donate the state that holds it.
"""

from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from operant.contracts import PyTree
from operant.errors import OperantError
from operant.parts.component import component, shape
from operant.parts.replay.host_memory import Memory, namespace, put, zeros
from operant.parts.replay.packing import Packing, gather


class ReplayState(NamedTuple):
    """The ring: `blocks` pushes of `block` rows each."""

    data: dict[str, Array]  # per dtype [blocks, block, columns]; [blocks, columns] where a block is one row
    cursor: Array  # int32: the block that the next push overwrites
    filled: Array  # int32: blocks written so far, at most all
    packing: Packing  # static

    @property
    def blocks(self) -> int:
        return next(iter(self.data.values())).shape[0]

    @property
    def block(self) -> int:
        shape = next(iter(self.data.values())).shape
        return shape[1] if len(shape) == 3 else 1

    @property
    def module(self) -> ModuleType:
        """NumPy where the rows are in the host's memory, otherwise JAX's: what reads them."""
        return namespace(next(iter(self.data.values())))


@shape("a storage (a component with init, push, rows, ring, spare and shared)")
@runtime_checkable
class Storage(Protocol):
    """How a replay keeps its rows; its state is arrays alone.

    One with a field `memory` that says "host" has outlines in the place of its large arrays at first, and NumPy reads
    its rows (`parts.replay.host_memory`).
    """

    def init(self, example: PyTree, capacity: int, block: int, streams: int) -> Any:
        """An empty ring for at least `capacity` rows like `example`."""
        ...

    def push(self, state: Any, batch: PyTree) -> Any:
        """Write `batch`, leaves `[block, ...]`, over the oldest block."""
        ...

    def rows(self, state: Any, index: Array) -> PyTree:
        """The rows at `index` int32 `[N]`, leaves `[N, *shape]`."""
        ...

    def ring(self, state: Any) -> ReplayState:
        """Where rows lie, and which are the newest."""
        ...

    def spare(self, state: Any) -> int:
        """How many of the oldest blocks are kept only because younger rows need them, and are not to be drawn."""
        ...

    def shared(self, state: Any) -> PyTree:
        """Which leaves of `state` only pushes change: seeds that learn from one dataset share them.

        True, False, or a tree of these with the shape of `state`, or of its upper part.
        """
        ...


@component
class Whole:
    """Every row as it is."""

    memory: Memory = "device"  # whose keeps the rows; the host's serves environments that step there

    def init(self, example: PyTree, capacity: int, block: int, streams: int) -> ReplayState:
        """An empty ring for rows like `example` (ONE row: arrays or `ShapeDtypeStruct`)."""
        packing = Packing.of(example, batch_ndim=0)
        if not packing.leaves:
            raise OperantError("replay of transitions without a single array")
        blocks = -(-capacity // block)
        # For an axis of one row XLA picks a layout that differs in name alone, and copies the ring for it.
        lead = (blocks,) if block == 1 else (blocks, block)
        data = {dtype: zeros((*lead, width), dtype, self.memory) for dtype, width in packing.widths.items()}
        # Two zeros, not one shared: a state that is donated may not hold a buffer twice.
        return ReplayState(data, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), packing)

    def push(self, state: ReplayState, batch: PyTree) -> ReplayState:
        """Write `batch`, leaves `[block, ...]`, over the oldest block. Raises `OperantError` for another shape."""
        rows = state.packing.pack(batch)
        for told in rows.values():
            if told.shape[:-1] != (state.block,):
                raise OperantError(f"this replay takes {state.block} rows a push, not {told.shape[:-1]}")
        data = {
            dtype: put(ring, state.cursor, rows[dtype].reshape(ring.shape[1:])) for dtype, ring in state.data.items()
        }
        filled = jnp.minimum(state.filled + 1, state.blocks)
        return state._replace(data=data, cursor=(state.cursor + 1) % state.blocks, filled=filled)

    def rows(self, state: ReplayState, index: Array) -> PyTree:
        """The rows at `index` int32 `[...]`, leaves `[..., *shape]`."""
        flat = state.module.reshape
        rows = {dtype: flat(ring, (-1, ring.shape[-1])) for dtype, ring in state.data.items()}
        return state.packing.unpack(gather(rows, index))

    def ring(self, state: ReplayState) -> ReplayState:
        """The state."""
        return state

    def spare(self, state: ReplayState) -> int:
        """None."""
        return 0

    def shared(self, state: ReplayState) -> bool:
        """All."""
        return True


def later(ring: ReplayState, index: Array, count: Array | int) -> tuple[Array, Array]:
    """The index of the row pushed `count` rows after each of `index` (before it, where negative), and whether it is."""
    rows, head = ring.blocks * ring.block, ring.module.asarray(ring.cursor) * ring.block
    newer = (head - 1 - index) % rows  # rows that were pushed after it
    return (index + count) % rows, count <= newer
