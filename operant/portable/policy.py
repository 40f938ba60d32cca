"""A policy as a table of NumPy operations: small enough to be read, and run where JAX is not installed.

The file is of safetensors: constants and fresh memory as tensors, and in its header, as JSON, the program. Registers
are numbered: first the memory, then the observation's leaves, then the constants, then the result of each instruction
`[operation, [registers], options]`. Everything is for one observation, with a leading axis of 1.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.numpy

from operant.core.runs.files import dump_json, parse_json, read_file, replace_file
from operant.errors import CheckpointError, OperantError
from operant.portable.operations import operation
from operant.words import unknown_name

FORMAT = 1
_LARGEST = 2**30  # bytes of a file
_DTYPES = {"bool", "float16", "float32", "float64"} | {f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)}


class NumpyPolicy:
    """What `agent.to_numpy()` and `operant.load_numpy` give: greedy actions by NumPy alone, equal to `agent.act`'s.

    Equal up to the rounding of float32 sums, whose order differs. Batches are computed row by row: it is meant for
    small policies, on one observation at a time.
    """

    def __init__(self, program: dict[str, Any], tensors: dict[str, np.ndarray]):
        """Raises some `Exception` where the two are not a policy: it is run once, on zeros."""
        if program["format"] != FORMAT:
            raise ValueError(f"has format {str(program['format'])[:20]!r}, this version reads {FORMAT}")
        if any(tensor.dtype.name not in _DTYPES for tensor in tensors.values()):
            raise ValueError("has tensors of a dtype that NumPy does not know")
        self._program, self._tensors = program, tensors
        self._fresh = [tensors[f"memory.{k}"] for k in range(program["memory"])]
        self._constants = [tensors[f"constant.{k}"] for k in range(program["constants"])]
        self._observation = program["observation"]
        zeros = _leaves(self._observation, None)
        number = len(self._fresh) + len(zeros) + len(self._constants)
        self._steps = []
        for name, arguments, options in program["instructions"]:
            if not all(type(k) is int and 0 <= k < number for k in arguments):
                raise ValueError("an instruction reads a register that is not there")
            self._steps.append((operation(name, options), arguments))
            number += 1
        *after, _ = self._outputs = program["outputs"]
        if not all(type(k) is int and 0 <= k < number for k in self._outputs) or len(after) != len(self._fresh):
            raise ValueError("its outputs are not there")
        memory, action = self._run(self._fresh, [leaf for leaf, _ in zeros])
        layout = [(leaf.shape, leaf.dtype) for leaf in memory]
        if action.shape[:1] != (1,) or layout != [(leaf.shape, leaf.dtype) for leaf in self._fresh]:
            raise ValueError("its outputs are not of the shapes that they should have")
        self._memory: Any = None

    def act(self, observation: Any, memory: Any = None) -> Any:
        """The greedy action for one observation, or `[B, ...]` for a batch, in the environment's own units.

        A policy with memory keeps it from call to call, and `reset` clears it; or the memory is given (`start` makes a
        fresh one) and `(action, memory)` comes back. Raises `OperantError` for what does not fit.
        """
        leaves = _leaves(self._observation, observation)
        single, sizes = all(alone for _, alone in leaves), {len(leaf) for leaf, _ in leaves}
        if len(sizes) != 1:
            raise OperantError("the parts of an observation must be batches of one size")
        (size,) = sizes
        if memory is not None:
            before = memory
        else:
            before = self._memory if self._memory and len(self._memory[0]) == size else self.start(size)
        shapes = [(size, *leaf.shape[1:]) for leaf in self._fresh]
        if not isinstance(before, tuple) or [np.shape(leaf) for leaf in before] != shapes:
            raise OperantError(f"this memory is not one for {size} observations: policy.start({size}) makes it")
        rows = [
            self._run([leaf[i : i + 1] for leaf in before], [leaf[i : i + 1] for leaf, _ in leaves])
            for i in range(size)
        ]
        after = tuple(np.concatenate(parts) for parts in zip(*(row[0] for row in rows), strict=True))
        action = rows[0][1][0] if single else np.concatenate([row[1] for row in rows])
        if memory is not None:
            return action, after
        self._memory = after
        return action

    def start(self, n: int = 1) -> tuple[np.ndarray, ...]:
        """Fresh memory for `n` observations at a time, arrays `[n, ...]`; `()` where the policy has none."""
        return tuple(np.repeat(leaf, n, axis=0) for leaf in self._fresh)

    def reset(self, ended: Any = None) -> None:
        """Forget what the policy remembers: of every environment, or where `ended [B]` is true."""
        if ended is None:
            self._memory = None
        elif self._memory:
            where = np.flatnonzero(np.asarray(ended, bool))
            for leaf, fresh in zip(self._memory, self._fresh, strict=True):
                leaf[where] = fresh

    def save(self, path: str | Path) -> None:
        """Write what `operant.load_numpy` reads, one file. Raises `OperantError` if that fails."""
        body = dump_json(self._program, path)
        told = {"operant": body.decode("ascii"), "sha256": _digest(body, self._tensors)}
        replace_file(Path(path), safetensors.numpy.save(self._tensors, told))

    def _run(self, memory: list[np.ndarray], observation: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        registers = [*memory, *observation, *self._constants]
        with np.errstate(all="ignore"):  # infinities are numbers here, as in JAX
            for function, arguments in self._steps:
                registers.append(function(*[registers[k] for k in arguments]))
        *after, action = (registers[k] for k in self._outputs)
        return after, action

    def __getattr__(self, name: str) -> NoReturn:
        raise unknown_name("NumpyPolicy", name, dir(type(self)), {})

    def __repr__(self) -> str:
        return f"NumpyPolicy({self._program['name']}, {len(self._steps)} instructions)"


def load_numpy(path: str | Path) -> NumpyPolicy:
    """The policy in a file that `NumpyPolicy.save` wrote.

    Nothing in the file is executed. Raises `CheckpointError` where it is damaged or something else.
    """
    data = read_file(Path(path), _LARGEST)
    try:
        tensors = safetensors.numpy.load(data)
        told = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        body, digest = told["operant"].encode("ascii"), told["sha256"]
    except Exception as error:  # the parser's own errors are several types, and change between its releases
        raise CheckpointError(f"{path}: is not a file of a NumPy policy, or damaged ({str(error)[:80]})") from error
    if _digest(body, tensors) != digest:
        raise CheckpointError(f"{path}: is damaged (its content does not match its hash)")
    try:
        return NumpyPolicy(parse_json(body, path), tensors)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a program that nobody exported makes NumPy raise
        raise CheckpointError(f"{path}: is not a NumPy policy ({str(error)[:80]})") from error


def _digest(body: bytes, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(body)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype.name} {tensor.shape}\n".encode() + tensor.tobytes())
    return digest.hexdigest()


def _leaves(told: Any, observation: Any) -> list[tuple[np.ndarray, bool]]:
    """The leaves of an observation as batches, each with whether it was single; zeros where the observation is None."""
    if "shape" not in told:
        kind = "dict" if "dict" in told else "tuple"
        parts = sorted(told[kind].items()) if kind == "dict" else list(enumerate(told[kind]))
        try:
            inside = [None if observation is None else observation[name] for name, _ in parts]
        except (KeyError, IndexError, TypeError) as error:
            raise OperantError(f"an observation is a {kind} of {', '.join(str(name) for name, _ in parts)}") from error
        return [leaf for (_, part), x in zip(parts, inside, strict=True) for leaf in _leaves(part, x)]
    shape = tuple(told["shape"])
    array = np.zeros(shape) if observation is None else np.asarray(observation)
    if array.shape != shape and array.shape[1:] != shape:
        raise OperantError(f"an observation of shape {array.shape} does not fit the space's {shape}, nor a batch of it")
    single = array.shape == shape
    return [(np.asarray(array[None] if single else array, told["dtype"]), single)]
