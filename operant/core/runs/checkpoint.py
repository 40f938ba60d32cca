"""Checkpoints: a pytree of arrays in a folder, whole or not there at all, and nothing in it is ever unpickled.

`folder/<name>/` holds safetensors files named by the hash of their content, and `manifest.json`: the format's
version, each file's size and hash, each leaf's key path, shape, dtype and files, and a description in plain JSON.
The manifest carries its own hash. A file whose content an earlier checkpoint in the folder already has is
hard-linked, so that the part of a large replay that has not changed is not written again.

A new checkpoint is written under a temporary name, synced, and renamed; saving the same name again moves the
content in first and the manifest last. A crash at any moment leaves the old or the new.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import jax

from operant.core.runs import manifest, segments
from operant.core.runs.files import move, read_file, sync_folder, write_file
from operant.errors import CheckpointError

PyTree = Any


def save(folder: Path, name: str, tree: PyTree, description: dict[str, Any]) -> Path:
    """Write `tree` (arrays and typed random keys) as `folder/name` and return that path.

    `name` is a zero-padded step number. Raises `CheckpointError` where the disk is full or not writable, or a leaf
    or the description cannot be stored; earlier checkpoints are untouched then.
    """
    target = folder / name
    if not re.fullmatch(r"[0-9]+", name):
        raise CheckpointError(f"{target}: a checkpoint's name is its step number, in digits")
    temporary = folder / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _write(temporary, target, tree, description)
        _publish(temporary, target)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def load(path: Path, template: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """`(tree, description)` of the checkpoint at `path`.

    `template` has the tree's structure, with arrays or `jax.ShapeDtypeStruct` as leaves. Leaves come back as
    strongly typed JAX arrays that own their memory; as NumPy arrays where the template's are. Raises
    `CheckpointError`, naming file and leaf, where anything is damaged or does not fit the template.
    """
    wanted, layouts = _named(path, template)
    told = manifest.read(path)
    manifest.compare(path / manifest.MANIFEST, told["leaves"], layouts)
    files = told["files"]

    @functools.lru_cache(maxsize=2)  # neighbouring leaves share a file
    def read(file: str) -> dict[str, bytes]:
        data = read_file(path / file, files[file]["size"])
        if hashlib.sha256(data).hexdigest() != files[file]["sha256"]:
            raise CheckpointError(f"{file} is damaged (its content does not match its hash)")
        return segments.tensors(data, file)

    leaves = []
    for name, like in wanted.items():
        entry = told["leaves"][name]
        try:
            if sum(files[file]["size"] for file in entry["segments"]) < segments.size(like):
                raise CheckpointError("its files are too small to hold it")
            leaves.append(segments.join(name, like, entry["segments"], read, entry["key"]))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: leaf {name}: {error}") from error
    return jax.tree.unflatten(jax.tree.structure(template), leaves), told["description"]


def latest(folder: Path) -> list[str]:
    """The names of the checkpoints in `folder`, newest first; whether they are whole is not looked at."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if re.fullmatch(r"[0-9]+", e.name) and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror or error})") from error
    return sorted(names, key=lambda name: (int(name), name), reverse=True)


def load_newest(folder: Path, template: PyTree) -> tuple[PyTree, dict[str, Any], str, list[str]]:
    """`(tree, description, name, warnings)` of the newest checkpoint that is whole; one warning per damaged one.

    Raises `CheckpointError` where none is left, and where a sound one does not fit the template.
    """
    reasons: list[str] = []
    for name in latest(folder):
        try:
            tree, description = load(folder / name, template)
            return tree, description, name, [f"{reason}; using an earlier checkpoint" for reason in reasons]
        except manifest.MismatchError:
            raise
        except CheckpointError as error:
            reasons.append(str(error))
    raise CheckpointError(f"{folder}: no checkpoint to load ({reasons[0] if reasons else 'there is none'})")


def prune(folder: Path, keep: int = 2, also: Collection[str] = ()) -> None:
    """Remove all checkpoints but the newest `keep` and those named in `also`, and what killed processes left.

    A checkpoint that is visibly damaged (manifest unreadable, a file missing or cut) does not count towards
    `keep`. Raises `CheckpointError` where something cannot be removed.
    """
    whole = 0
    try:
        for name in latest(folder):
            if whole < keep:
                whole += _looks_whole(folder / name)
            elif name not in also:
                # Under a temporary name first: half a checkpoint must never look like one.
                move(folder / name, folder / f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        for leftover in folder.glob(".*.tmp"):
            shutil.rmtree(leftover)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot remove an old checkpoint ({error.strerror or error})") from error


def _named(where: Path, tree: PyTree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each leaf under its key path, and each one's layout."""
    named, layouts = {}, {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path)
        if name in named:
            raise CheckpointError(f"{where}: two leaves have the key path {name}")
        try:
            named[name], layouts[name] = leaf, segments.layout(leaf)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: leaf {name}: {error}") from None
    return named, layouts


def _write(temporary: Path, target: Path, tree: PyTree, description: dict[str, Any]) -> None:
    named, layouts = _named(target, tree)
    leaves: dict[str, Any] = {}
    for name, leaf in named.items():
        leaves[name] = {**layouts[name], "key": segments.implementation(leaf), "segments": []}
    earlier = [target.parent / name for name in latest(target.parent)]
    files: dict[str, Any] = {}
    for content, names in segments.cut(named.items()):
        digest = hashlib.sha256(content).hexdigest()
        file = f"{digest}.safetensors"
        if file not in files:
            files[file] = {"size": len(content), "sha256": digest}
            _place(temporary / file, content, earlier)
        for name in names:
            leaves[name]["segments"].append(file)
    write_file(temporary / manifest.MANIFEST, manifest.seal(target, files, leaves, description))
    sync_folder(temporary)


def _place(path: Path, content: bytes, earlier: Iterable[Path]) -> None:
    for folder in earlier:
        # Compared, not only named alike: a link to a damaged file would carry the damage into every later checkpoint.
        with contextlib.suppress(OSError, CheckpointError):
            if read_file(folder / path.name, len(content)) == content:
                os.link(folder / path.name, path)
                return
    write_file(path, content)


def _publish(temporary: Path, target: Path) -> None:
    if not target.is_dir():
        move(temporary, target)
        sync_folder(target.parent)
        return
    # A folder that is not empty cannot be replaced at once, but its manifest can: contents first, manifest last.
    current = {file.name for file in temporary.iterdir()}
    for name in current - {manifest.MANIFEST}:
        move(temporary / name, target / name)
    sync_folder(target)
    move(temporary / manifest.MANIFEST, target / manifest.MANIFEST)
    sync_folder(target)
    with contextlib.suppress(OSError):
        for file in target.iterdir():
            if file.name not in current:
                file.unlink()


def _looks_whole(path: Path) -> bool:
    try:
        manifest.read(path)
    except CheckpointError:
        return False
    return True
