"""Rows in the host's memory: NumPy arrays in a learner's state, which no program holds.

Programs get an `Outline` in the place of each such array. What they would write into it comes out as `Pending` and is
written afterwards, in place; rows are read between programs, where the same code is NumPy's. So nothing of them needs
any device's memory, and every device can do it; checkpoints hold them like all other arrays.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, PyTree
from operant.errors import OperantError

Memory: TypeAlias = Literal["device", "host"]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Outline:
    """What a program may know of an array that it does not hold."""

    shape: tuple[int, ...]
    dtype: str

    def __len__(self) -> int:
        return self.shape[0]


class Pending(NamedTuple):
    """An array that is not held, with what is to be written into it."""

    outline: Outline
    index: Array
    rows: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.outline.shape


def zeros(shape: tuple[int, ...], dtype: Any, memory: Memory) -> Any:
    """An array of zeros on the device, or the outline of one in the host's memory."""
    if memory not in ("device", "host"):
        raise OperantError(f"memory must be one of device, host, not {memory!r}")
    return jnp.zeros(shape, dtype) if memory == "device" else Outline(shape, jnp.dtype(dtype).name)


def put(array: Any, index: Array, rows: Array) -> Any:
    """`array` `[N, ...]` with `rows` at `index`, a number or several; at N or beyond they are lost."""
    if isinstance(array, Outline):
        return Pending(array, index, rows)
    if index.ndim:
        return array.at[index].set(rows, mode="drop")
    return jax.lax.dynamic_update_slice(array, rows[None], (index, *[jnp.zeros((), jnp.int32)] * rows.ndim))


def namespace(array: Any) -> ModuleType:
    """The module, NumPy's or JAX's, whose functions read from `array`. Raises `OperantError` where it is not held."""
    if isinstance(array, Outline | Pending):
        raise OperantError("rows in the host's memory can be read between programs alone, and this is inside one")
    return np if isinstance(array, np.ndarray) else jnp


def chosen(flags: Array, new: Array, old: Array) -> Array:
    """`new` where `flags` `[...]`, otherwise `old` `[..., *shape]`, which is written into where it is NumPy's."""
    if isinstance(old, np.ndarray):
        old[flags] = np.broadcast_to(new, old.shape)[flags]
        return old
    return jnp.where(flags.reshape(*flags.shape, *[1] * (old.ndim - flags.ndim)), new, old)


def outlined(tree: PyTree) -> PyTree:
    """`tree` as programs get it."""
    outline = lambda leaf: Outline(leaf.shape, leaf.dtype.name) if isinstance(leaf, np.ndarray) else leaf  # noqa: E731
    return jax.tree.map(outline, tree)


def laid_out(tree: PyTree, module: ModuleType = np) -> PyTree:
    """`tree` with an array of zeros in the place of each outline."""
    lay = lambda leaf: module.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, Outline) else leaf  # noqa: E731
    return jax.tree.map(lay, tree, is_leaf=_is_outside)


def settled(tree: PyTree, held: PyTree) -> PyTree:
    """`tree`, as it came out of a program, with the arrays of `held`, as that was before; these are written into."""

    def settle(told: Any, array: Any) -> Any:
        if isinstance(told, Pending):
            index, rows = np.asarray(told.index), np.asarray(told.rows)
            if index.ndim:
                index, rows = index[index < len(array)], rows[index < len(array)]
            array[index] = rows
        return array if _is_outside(told) else told

    return jax.tree.map(settle, tree, held, is_leaf=_is_outside)


def _is_outside(node: Any) -> bool:
    return isinstance(node, Outline | Pending)
