"""A checkpoint's `manifest.json`: sealed with its own hash, and trusted in nothing once it is read."""

import hashlib
import re
from pathlib import Path
from typing import Any

from operant.core.runs.files import dump_json, parse_json, read_file
from operant.errors import CheckpointError

MANIFEST = "manifest.json"
FORMAT = 1
_HEAD, _MIDDLE, _TAIL = b'{"sha256": "', b'", "manifest":\n', b"\n}\n"
_MAX_MANIFEST, _MAX_FILE = 64 * 2**20, 2**30  # bytes; far above what is written


class MismatchError(CheckpointError):
    """A sound checkpoint of something else: an older one would not fit either."""


def seal(where: Path, files: dict[str, Any], leaves: dict[str, Any], description: dict[str, Any]) -> bytes:
    """The manifest's text. Raises `CheckpointError` naming `where` if the description is not plain JSON."""
    body = dump_json({"format": FORMAT, "files": files, "leaves": leaves, "description": description}, where)
    if len(body) > _MAX_MANIFEST // 2:
        raise CheckpointError(f"{where}: the description is too large")
    return _sealed(body)


def read(path: Path) -> dict[str, Any]:
    """The manifest of the checkpoint at `path`, well formed, every file there and of the size it should have.

    Raises `CheckpointError`.
    """
    where = path / MANIFEST
    data = read_file(where, _MAX_MANIFEST)
    body = data[len(_HEAD) + 64 + len(_MIDDLE) : -len(_TAIL)]
    if data != _sealed(body):
        raise CheckpointError(f"{where}: is damaged (its content does not match its hash)")
    manifest = parse_json(body, where)
    if manifest.get("format") != FORMAT:
        raise MismatchError(f"{where}: has format {str(manifest.get('format'))[:20]!r}, this version reads {FORMAT}")
    files, leaves = manifest.get("files"), manifest.get("leaves")
    if not (
        isinstance(files, dict)
        and isinstance(leaves, dict)
        and isinstance(manifest.get("description"), dict)
        and all(_is_file(name, facts) for name, facts in files.items())
        and all(_is_leaf(entry, files) for entry in leaves.values())
    ):
        raise CheckpointError(f"{where}: is not a checkpoint's manifest")
    for name, facts in files.items():
        _check_size(path / name, facts["size"])
    return manifest


def compare(where: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise `MismatchError`, naming `where` and the leaf, unless both have the same leaves, shapes and dtypes."""
    for name in [*wanted, *stored]:
        if name not in stored:
            raise MismatchError(f"{where}: has no leaf {name}")
        if name not in wanted:
            raise MismatchError(f"{where}: has a leaf {name[:200]!r} that was not expected")
        has, want = ({key: layouts[name][key] for key in ("shape", "dtype")} for layouts in (stored, wanted))
        if has != want:
            raise MismatchError(f"{where}: leaf {name} is {_text(has)}, {_text(want)} was expected")


def _sealed(body: bytes) -> bytes:
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + _MIDDLE + body + _TAIL


def _is_file(name: str, facts: Any) -> bool:
    return (
        re.fullmatch(r"[0-9a-f]{64}\.safetensors", name) is not None  # a plain name: it cannot leave the folder
        and isinstance(facts, dict)
        and type(facts.get("size")) is int
        and 0 <= facts["size"] <= _MAX_FILE
        and isinstance(facts.get("sha256"), str)
    )


def _is_leaf(entry: Any, files: dict[str, Any]) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("shape"), list)
        and all(type(size) is int and 0 <= size < 2**63 for size in entry["shape"])
        and isinstance(entry.get("dtype"), str)
        and isinstance(entry.get("key"), str | None)
        and isinstance(entry.get("segments"), list)
        and len(entry["segments"]) > 0
        and all(isinstance(file, str) and file in files for file in entry["segments"])
    )


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.lstat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found != size:
        raise CheckpointError(f"{path}: is damaged (it has {found} bytes, {size} were written)")


def _text(layout: dict[str, Any]) -> str:
    shape = ", ".join(map(str, layout["shape"][:16]))
    return f"{layout['dtype'][:40]!r}[{shape}]".replace("'", "")
