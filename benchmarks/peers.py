"""Peers in environments of their own: created once under `benchmarks/.peers/<name>`, spoken to in JSON lines.

Operant runs in the interpreter that runs the benchmark; every other library in a virtual environment made from
`requirements-<name>.txt`, so that nobody's versions decide anybody else's. See `workers/protocol.py` for the words.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class PeerError(Exception):
    """A peer could not be installed, or answered with an error."""


def interpreter(name: str) -> Path:
    """The Python that runs `name`'s worker; installs the peer where its requirements are new or have changed."""
    if name == "operant":
        return Path(sys.executable)
    requirements = HERE / f"requirements-{name}.txt"
    folder = HERE / ".peers" / name
    python = folder / "bin" / "python"
    stamp = folder / "stamp"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing {requirements.name} into {folder.relative_to(HERE.parent)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise PeerError(f"pip could not install {requirements.name}")
        stamp.write_text(wanted, encoding="utf-8")
    return python


class Peer:
    """A worker process that is prepared for one benchmark entry and runs its repetitions."""

    def __init__(self, name: str, settings: dict[str, Any]):
        # Compile times are cold ones: no peer, and not Operant, may read a compilation cache.
        environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONWARNINGS": "ignore"}
        if name == "operant":
            environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed by close()
        self.process = subprocess.Popen(
            [interpreter(name), HERE / "workers" / f"{name}_worker.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
            env=environment,
        )
        try:
            ready = self._ask({"prepare": settings})
        except PeerError:
            self.close()
            raise
        self.compile_seconds: float = ready["compile_seconds"]
        self.versions: dict[str, str] = ready["versions"]

    def run(self, seed: int) -> float:
        """One timed repetition: environment steps per second."""
        answer = self._ask({"run": seed})
        return answer["steps"] / answer["seconds"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it is dead; the empty answer below says so
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = self.errors.read().strip().splitlines()[-1:] or ["it wrote nothing"]
            raise PeerError(f"the worker died: {last[0]}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer
