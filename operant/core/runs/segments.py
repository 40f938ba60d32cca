"""Arrays to safetensors files and back: small leaves share a file, large ones are cut into segments.

A small leaf is stored under its own name, with its shape and dtype where the format knows the dtype, so that
other tools can read it. A segment holds a run of a large leaf's flat bytes and does not know whose they are, so
that equal segments are equal files.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from operant.errors import CheckpointError

SEGMENT = 64 * 2**20  # bytes; a leaf of this size or more is cut

# What the format stores element by element; other dtypes are stored as bytes.
_NATIVE = frozenset({"bool", "bfloat16", "float16", "float32", "float64", "complex64"}) | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def is_key(leaf: Any) -> bool:
    """Whether `leaf` holds typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def implementation(leaf: Any) -> str | None:
    """The name of the generator that `leaf` holds keys of, None for ordinary arrays."""
    return str(jax.random.key_impl(leaf)) if is_key(leaf) else None


def layout(leaf: Any) -> dict[str, Any]:
    """`{"shape", "dtype"}` of an array, typed keys or a `jax.ShapeDtypeStruct`.

    Raises `CheckpointError` for what no checkpoint can hold.
    """
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic):
        raise CheckpointError(f"is a {type(leaf).__name__}, checkpoints hold arrays")
    if is_key(leaf):
        return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    dtype = np.dtype(leaf.dtype)
    if not hasattr(jnp, dtype.name) or not dtype.isnative:
        raise CheckpointError(f"has dtype {dtype}, which JAX does not know")
    return {"shape": list(leaf.shape), "dtype": dtype.name}


def cut(leaves: Iterable[tuple[str, Any]]) -> Iterator[tuple[bytes, list[str]]]:
    """The contents of the files, each with the names of the leaves that it holds data of.

    A leaf's segments come in order. Never holds more than one file's content at a time.
    """
    packed: dict[str, np.ndarray] = {}
    for name, leaf in leaves:
        array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf, order="C")
        if array.nbytes >= SEGMENT:
            flat = array.reshape(-1).view(np.uint8)
            for start in range(0, flat.size, SEGMENT):
                yield safetensors.numpy.save({"bytes": flat[start : start + SEGMENT]}), [name]
            continue
        if sum(other.nbytes for other in packed.values()) + array.nbytes > SEGMENT:
            yield safetensors.numpy.save(packed), list(packed)
            packed = {}
        packed[name] = array if array.dtype.name in _NATIVE else array.reshape(-1).view(np.uint8)
    if packed:
        yield safetensors.numpy.save(packed), list(packed)


def tensors(data: bytes, where: Any) -> dict[str, bytes]:
    """The raw bytes of each tensor in a safetensors file's content. Raises `CheckpointError` naming the file."""
    try:
        return {name: tensor["data"] for name, tensor in safetensors.deserialize(data)}
    except Exception as error:  # the parser's own errors are several types, and change between its releases
        raise CheckpointError(f"{where}: is not a safetensors file ({error})") from error


def size(like: Any) -> int:
    """How many bytes the leaf's data has."""
    return math.prod(_stored(like).shape) * np.dtype(_stored(like).dtype).itemsize


def join(
    name: str, like: Any, segments: Sequence[str], read: Callable[[str], dict[str, bytes]], implementation: str | None
) -> Any:
    """The leaf `name`, put together from `segments`, with the shape, dtype and kind of `like`.

    `read` gives a file's tensors. NumPy arrays come back as NumPy arrays, everything else as JAX arrays that own
    their memory; `implementation` is the generator's name where `like` holds keys. Raises `CheckpointError`.
    """
    stored = _stored(like)
    try:
        flat = np.empty(size(like), np.uint8)
    except (MemoryError, ValueError) as error:
        raise CheckpointError(f"does not fit into memory ({error})") from error
    start = 0
    for segment in segments:
        found = read(segment)
        data = found.get(name, found.get("bytes", b""))
        if len(data) > flat.size - start:
            raise CheckpointError(f"{segment} holds more data than it has")
        flat[start : start + len(data)] = np.frombuffer(data, np.uint8)
        start += len(data)
    if start != flat.size:
        raise CheckpointError(f"has {flat.size} bytes, {start} were found")
    array = flat.view(stored.dtype).reshape(stored.shape)
    if isinstance(like, np.ndarray | np.generic):
        return array
    # A copy, which `device_put` does not promise for NumPy's memory: donation gives it to a compiled program.
    leaf = jnp.array(array, copy=True)
    if leaf.dtype != stored.dtype:
        raise CheckpointError(f"is {stored.dtype}, which JAX holds only with jax_enable_x64")
    return _keys(leaf, like, implementation) if is_key(like) else leaf


def _stored(like: Any) -> Any:
    return jax.eval_shape(jax.random.key_data, like) if is_key(like) else like


def _keys(data: jax.Array, like: Any, implementation: str | None) -> jax.Array:
    try:
        keys = jax.random.wrap_key_data(data, impl=implementation)
    except (TypeError, ValueError):
        keys = None
    if keys is None or keys.dtype != like.dtype:
        raise CheckpointError(f"holds keys of {str(implementation)[:40]!r}, {like.dtype} was expected")
    return keys
