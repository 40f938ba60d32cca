"""The operations of a program, in NumPy, by the names and with the meaning of JAX's primitives (`jax.lax`).

An array's shape and dtype are those that JAX would give it. What is not in `PLAIN` or `SHAPED` cannot be run.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _select(which: Array, *cases: Array) -> Array:
    if len(cases) != 2 or which.dtype != np.bool_:
        raise ValueError("select_n chooses between two by bool")
    return np.where(which, cases[1], cases[0])


def _div(x: Array, y: Array) -> Array:
    # That of integers rounds towards zero.
    return (x - np.fmod(x, y)) // y if x.dtype.kind in "iu" else np.divide(x, y)


PLAIN: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("sign", "floor", "ceil", "exp", "exp2", "expm1", "log", "log1p", "square")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "abs")},
    "neg": np.negative,
    "not": np.invert,
    "is_finite": np.isfinite,
    "copy": np.asarray,
    "stop_gradient": np.asarray,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "logistic": lambda x: (np.tanh(x * 0.5) * 0.5 + 0.5).astype(x.dtype),  # 1 / (1 + exp(-x)), which overflows
    "erf": lambda x: _ERF(x).astype(x.dtype),
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _div,
    "rem": np.fmod,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "atan2": np.arctan2,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "select_n": _select,
}


def _broadcast(x: Array, shape: list[int], broadcast_dimensions: list[int]) -> Array:
    sizes = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, x.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(x.reshape(sizes), shape)


def _slice(x: Array, start_indices: list[int], limit_indices: list[int], strides: list[int] | None) -> Array:
    steps = strides or [1] * x.ndim
    return x[tuple(slice(*ends) for ends in zip(start_indices, limit_indices, steps, strict=True))]


def _reduce(function: Any, x: Array, axes: list[int]) -> Array:
    # NumPy would add small integers up in larger ones.
    kind = {"dtype": x.dtype} if function in (np.add, np.multiply) else {}
    return function.reduce(x, axis=tuple(axes), **kind)


def _arg(function: Any, x: Array, axes: list[int], index_dtype: str) -> Array:
    (axis,) = axes
    return function(x, axis=axis).astype(index_dtype)


def _cumsum(x: Array, axis: int, reverse: bool) -> Array:
    flipped = np.flip(x, axis) if reverse else x
    summed = np.cumsum(flipped, axis=axis, dtype=x.dtype)
    return np.flip(summed, axis) if reverse else summed


def _iota(dtype: str, shape: list[int], dimension: int) -> Array:
    return _broadcast(np.arange(shape[dimension], dtype=dtype), shape, [dimension])


def _take(x: Array, indices: Array, axes: int) -> Array:
    """Entries of the first `axes` axes at `indices [..., axes]`, each moved to the nearest that there is."""
    return x[tuple(np.clip(indices[..., k], 0, x.shape[k] - 1) for k in range(axes))]


def _dot(x: Array, y: Array, dimension_numbers: Any) -> Array:
    (left, right), (left_batch, right_batch) = dimension_numbers
    if x.ndim == y.ndim == 2 and (left, right, left_batch) == ([1], [0], []):
        return x @ y
    names = [*range(x.ndim)], [*range(x.ndim, x.ndim + y.ndim)]
    for a, b in zip([*left, *left_batch], [*right, *right_batch], strict=True):
        names[1][b] = names[0][a]
    free = [k for k in names[0] if k not in names[1]] + [k for k in names[1] if k >= x.ndim]
    return np.einsum(x, names[0], y, names[1], [names[0][a] for a in left_batch] + free)


def _convolve(x: Array, kernel: Array, window_strides: list[int], padding: Any, dimension_numbers: Any) -> Array:
    images, weights, out = dimension_numbers  # where [batch, channel, *space], [out, in, *space] and those are
    x, kernel = x.transpose(images), kernel.transpose(weights)
    x = np.pad(x, [(0, 0), (0, 0), *map(tuple, padding)])
    space = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], space)  # type: ignore[call-overload]
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in window_strides))]
    channels = (1, *range(x.ndim, windows.ndim))
    result = np.tensordot(windows, kernel, (channels, (1, *space)))  # [batch, *space, out]
    return np.moveaxis(result, -1, 1).transpose(np.argsort(out))


SHAPED: dict[str, Callable[..., Any]] = {
    "integer_pow": lambda x, y: np.power(x, y).astype(x.dtype),
    "convert_element_type": lambda x, new_dtype: x.astype(new_dtype),
    "broadcast_in_dim": _broadcast,
    "reshape": lambda x, new_sizes: x.reshape(new_sizes),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "squeeze": lambda x, dimensions: x.squeeze(tuple(dimensions)),
    "slice": _slice,
    "rev": lambda x, dimensions: np.flip(x, tuple(dimensions)),
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "stack": lambda *parts, axis: np.stack(parts, axis),
    "reduce_sum": functools.partial(_reduce, np.add),
    "reduce_prod": functools.partial(_reduce, np.multiply),
    "reduce_max": functools.partial(_reduce, np.maximum),
    "reduce_min": functools.partial(_reduce, np.minimum),
    "reduce_and": functools.partial(_reduce, np.bitwise_and),
    "reduce_or": functools.partial(_reduce, np.bitwise_or),
    "argmax": functools.partial(_arg, np.argmax),
    "argmin": functools.partial(_arg, np.argmin),
    "cumsum": _cumsum,
    "iota": _iota,
    "take": _take,
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
}


def operation(name: str, options: dict[str, Any]) -> Callable[..., Any]:
    """The function of arrays that `name` is, with its `options`. Raises `ValueError` for a name that is not here."""
    if name in PLAIN and not options:
        return PLAIN[name]
    if name in SHAPED:
        return functools.partial(SHAPED[name], **options)
    raise ValueError(f"unknown operation {name[:40]!r}")
