"""Trees of arrays packed into one array per dtype, so that picking rows is one gather per dtype.

A minibatch gathered field by field costs several small gathers; packed, each leaf is a range of columns.
Booleans are stored as uint8 and come back as booleans; everything else keeps its dtype, bit for bit.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.contracts import PyTree
from operant.errors import OperantError


@dataclass(frozen=True)
class _Leaf:
    dtype: str
    shape: tuple[int, ...]  # without the batch axes
    group: str
    start: int  # first column in its group

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + math.prod(self.shape))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Packing:
    """Where each leaf of a tree lies in its packed form. Structure: hashable, and a pytree without leaves."""

    treedef: Any
    leaves: tuple[_Leaf, ...]

    @classmethod
    def of(cls, example: PyTree, batch_ndim: int = 1) -> "Packing":
        """The layout for trees like `example` (arrays, or `ShapeDtypeStruct` as `jax.eval_shape` gives them).

        The first `batch_ndim` axes of every leaf are the batch and are left out of the layout.
        Raises `OperantError` for a leaf with fewer axes and for random keys (pack `jax.random.key_data` instead).
        """
        structs, treedef = jax.tree.flatten(jax.eval_shape(lambda tree: tree, example))
        leaves: list[_Leaf] = []
        width: dict[str, int] = {}
        for struct in structs:
            if jnp.issubdtype(struct.dtype, jax.dtypes.prng_key):
                raise OperantError("random keys cannot be packed with numbers: pack jax.random.key_data(key) instead")
            if struct.ndim < batch_ndim:
                raise OperantError(f"a leaf of shape {struct.shape} has fewer than {batch_ndim} batch axes")
            dtype = str(struct.dtype)
            group = "uint8" if dtype == "bool" else dtype
            leaves.append(_Leaf(dtype, struct.shape[batch_ndim:], group, width.get(group, 0)))
            width[group] = leaves[-1].columns.stop
        return cls(treedef, tuple(leaves))

    @property
    def widths(self) -> dict[str, int]:
        """The number of columns of each dtype's array; zero where all its leaves are empty."""
        return {leaf.group: leaf.columns.stop for leaf in self.leaves}  # the last leaf of a group ends it

    def pack(self, tree: PyTree) -> dict[str, Array]:
        """`tree`, leaves `[*batch, ...]`, as `{dtype: [*batch, columns]}`, for any number of batch axes.

        Raises `OperantError` where a leaf's shape or dtype is not the layout's or the batches differ.
        """
        arrays, treedef = jax.tree.flatten(tree)
        if treedef != self.treedef:
            raise OperantError(f"a tree of {treedef} does not fit the packing of {self.treedef}")
        groups: dict[str, list[Array]] = {group: [] for group in self.widths}
        batches = set()
        for leaf, array in zip(self.leaves, map(jnp.asarray, arrays), strict=True):
            batch_ndim = array.ndim - len(leaf.shape)
            if batch_ndim < 0 or array.shape[batch_ndim:] != leaf.shape or str(array.dtype) != leaf.dtype:
                raise OperantError(f"{array.dtype}{list(array.shape)} does not fit {leaf.dtype}[..., {leaf.shape}]")
            batches.add(array.shape[:batch_ndim])
            # A -1 would be ambiguous where the leaf or the batch is empty.
            columns = array.reshape(*array.shape[:batch_ndim], math.prod(leaf.shape))
            groups[leaf.group].append(columns.astype(leaf.group))
        if len(batches) > 1:
            raise OperantError(f"leaves disagree about the batch: {sorted(batches)}")
        return {group: jnp.concatenate(columns, axis=-1) for group, columns in groups.items()}

    def unpack(self, packed: dict[str, Array]) -> PyTree:
        """The tree that `pack` made `packed` from, leaves `[*batch, ...]`."""
        arrays = []
        for leaf in self.leaves:
            columns = packed[leaf.group][..., leaf.columns]
            columns = columns.reshape(*columns.shape[:-1], *leaf.shape)
            arrays.append(columns.astype(leaf.dtype) if leaf.dtype != leaf.group else columns)
        return jax.tree.unflatten(self.treedef, arrays)


def gather(packed: dict[str, Array], index: Array) -> dict[str, Array]:
    """Rows `index` (int `[...]`) of every `[rows, columns]` array; indices must be in `[0, rows)`, unchecked.

    NumPy arrays where `packed` are NumPy arrays.
    """

    def at(rows: Any) -> Any:
        if isinstance(rows, np.ndarray):
            return np.take(rows, index, axis=0)
        return rows.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)

    return {group: at(rows) for group, rows in packed.items()}
