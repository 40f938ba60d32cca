"""The folder of a run: `run.json` says what it is, `metrics.jsonl` how it went, and the rest hangs beside them.

Everything is UTF-8 and plain JSON. What is read may come from anywhere: it is checked, and nothing in it is
imported or executed.
"""

import json
import math
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.runs.files import dump_json, parse_json, read_file, replace_file
from operant.errors import CheckpointError, OperantError

FORMAT = 1
# What every run.json says; a caller may say more.
EXPECTED = {"algorithm": str, "fields": dict, "environment": str, "seeds": list, "steps": int, "versions": dict}
_MAX_DESCRIPTION = 16 * 2**20  # bytes


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; made with `create` or `open`."""

    path: Path

    @classmethod
    def create(cls, out: Path | None, algorithm: str, environment: str, seed: int) -> "RunFolder":
        """A new, empty folder: `out`, or `runs/<algorithm>-<environment>-<seed>-<date-time>`.

        Raises `OperantError` where `out` is a file, has something in it, or cannot be written.
        """
        try:
            if out is None:
                path = _unused(Path("runs"), f"{algorithm}-{environment}-{seed}")
            else:
                path = Path(out)
                path.mkdir(parents=True, exist_ok=True)
                if any(path.iterdir()):
                    raise OperantError(f"{path} is not empty: choose another folder, or resume the run in it")
            with tempfile.TemporaryFile(dir=path):
                pass  # found out now, not after the first hour of training
        except OSError as error:
            raise OperantError(f"{out or 'runs'}: cannot make a run folder ({error.strerror or error})") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of an earlier run. Raises `OperantError` where there is none."""
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise OperantError(f"{path}: no such folder")
        if not folder.description.is_file():
            raise OperantError(f"{path} is not a run: it has no {folder.description.name}")
        return folder

    @property
    def quoted(self) -> str:
        """The path as it is typed on this system's command line."""
        text = str(self.path)
        if sys.platform == "win32":
            return f'"{text}"' if re.search(r"[^\w.:\\/~-]", text) else text
        return shlex.quote(text)

    @property
    def description(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def policies(self) -> Path:
        return self.path / "policies"

    @property
    def best(self) -> Path:
        """The best policies, where training was evaluated."""
        return self.path / "best"

    @property
    def curve(self) -> Path:
        return self.path / "curve.png"

    @property
    def episode(self) -> Path:
        return self.path / "episode.gif"

    def write_description(self, description: dict[str, Any]) -> None:
        """Replace `run.json`, at once. Raises `CheckpointError` if a key of `EXPECTED` is missing or not plain JSON."""
        _check(description, self.description)
        replace_file(self.description, dump_json({"format": FORMAT, **description}, self.description, indent=2) + b"\n")

    def read_description(self) -> dict[str, Any]:
        """What `write_description` wrote. Raises `CheckpointError` naming the file where it is anything else."""
        description = parse_json(read_file(self.description, _MAX_DESCRIPTION), self.description)
        if (found := description.pop("format", None)) != FORMAT:
            raise CheckpointError(f"{self.description}: has format {str(found)[:20]!r}, this version reads {FORMAT}")
        _check(description, self.description)
        return description

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; NaN and infinity, which JSON lacks, become null.

        `row` is flat or nested, of numbers (Python's, NumPy's or JAX's), text, booleans and None. A row that is to
        be rewound says its `steps`. Raises `CheckpointError` where it cannot be written.
        """
        line = dump_json(_plain(row), self.metrics) + b"\n"
        try:
            with open(self.metrics, "ab") as file:
                file.write(line)
        except OSError as error:
            raise CheckpointError(f"{self.metrics}: cannot be written ({error.strerror or error})") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """All rows; a last line that a crash has torn is left out, any other damage raises `CheckpointError`."""
        try:
            with open(self.metrics, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.metrics}: cannot be read ({error.strerror or error})") from error
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(parse_json(line, f"{self.metrics}: line {number}"))
            except CheckpointError:
                if number < len(lines):
                    raise
        return rows

    def rewind(self, step: int) -> None:
        """Drop the rows after `step` (environment steps) and a torn last line, before a run is resumed from there."""
        rows = [row for row in self.read_metrics() if not _after(row, step)]
        replace_file(self.metrics, b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows))


def _unused(parent: Path, name: str) -> Path:
    """A new folder in `parent`, whatever characters `name` has."""
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:80]}-{datetime.now():%Y%m%d-%H%M%S}"
    parent.mkdir(parents=True, exist_ok=True)
    path, attempt = parent / stem, 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:  # another run began in the same second
            attempt += 1
            path = parent / f"{stem}-{attempt}"


def _check(description: dict[str, Any], where: Path) -> None:
    for key, kind in EXPECTED.items():
        if type(description.get(key)) is not kind:
            raise CheckpointError(f"{where}: {key!r} is missing or not of type {kind.__name__}")
    if not description["seeds"] or any(type(seed) is not int for seed in description["seeds"]):
        raise CheckpointError(f"{where}: 'seeds' is not a list of whole numbers")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, str | int | None) and np.ndim(value) == 0:
        value = np.asarray(value).item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _after(row: dict[str, Any], step: int) -> bool:
    steps = row.get("steps")
    return isinstance(steps, int | float) and steps > step
