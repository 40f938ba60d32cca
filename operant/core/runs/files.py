"""Files that survive a crash, and files that may be damaged or hostile: synced writes, checked reads, strict JSON."""

import contextlib
import json
import math
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

from operant.errors import CheckpointError

_MAX_DEPTH = 64
_PATIENCE = (0.01, 0.03, 0.1, 0.3, 1.0)  # seconds between attempts to rename on Windows


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Links and devices are refused, so that a run folder from elsewhere cannot make us read outside it.
    Raises `CheckpointError`.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path}: is not a regular file")
        if status.st_size > limit:
            raise CheckpointError(f"{path}: has {status.st_size} bytes, at most {limit} were expected")
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def write_file(path: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it. Raises `OSError`."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        _sync(file.fileno())


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        # There, fsync leaves the data in the drive's own cache. Not every file system can do better.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's list of names; Windows has no such call. Raises `OSError`."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target`, in whose place it comes at once. Raises `OSError`.

    On Windows a file that anybody reads cannot be replaced: a virus scanner or a viewer of curve.png is waited for.
    """
    for seconds in _PATIENCE if sys.platform == "win32" else ():
        try:
            return os.replace(source, target)
        except PermissionError:
            time.sleep(seconds)
    os.replace(source, target)


def replace_file(path: Path, data: bytes) -> None:
    """Replace the content of `path` at once: after a crash it holds the old or the new. Raises `CheckpointError`."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_file(temporary, data)
        move(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def dump_json(value: dict[str, Any], where: str | Path, indent: int | None = None) -> bytes:
    """`value` as JSON text in ASCII that `parse_json` reads back.

    Raises `CheckpointError` naming `where` for NaN, infinity, what is not plain JSON, and deep nesting.
    """
    try:
        data = json.dumps(value, allow_nan=False, indent=indent).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: cannot be written as JSON ({error})") from error
    parse_json(data, where)
    return data


def parse_json(data: bytes, where: str | Path) -> dict[str, Any]:
    """The JSON object in UTF-8 `data`; no NaN, no infinity, at most 64 levels deep.

    Raises `CheckpointError` naming `where`.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: is not a JSON object")
    if _deeper_than(value, _MAX_DEPTH):
        raise CheckpointError(f"{where}: is nested more than {_MAX_DEPTH} levels deep")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
