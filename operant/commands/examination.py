"""What `operant doctor` looks at: packages, devices, extras, settings, folders; and what is wrong with them."""

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from operant import __version__

# Each extra: the distribution that shows that it is installed, and what it adds.
EXTRAS = {
    "cuda": ("jax-cuda12-plugin", "training on NVIDIA GPUs (Linux)"),
    "wandb": ("wandb", "logging to Weights & Biases"),
    "mujoco": ("mujoco", "Gymnasium's MuJoCo environments"),
    "box2d": ("box2d", "Gymnasium's Box2D environments"),
    "atari": ("ale-py", "Atari games"),
    "offline": ("minari", "datasets in Minari's format"),
    "numba": ("numba", "compiled Gauss-Seidel sweeps over finite MDPs on the CPU"),
    "test": ("pytest", "what the tests need"),
    "dev": ("ruff", "the linters and the type checker"),
}
LEAST_FREE = 2**30  # bytes; a replay of pictures fills this at once
# Settings that change results or speed without a word.
SETTINGS = {
    "JAX_ENABLE_X64": ("1", "changes every random stream: runs are not those of other machines"),
    "JAX_DISABLE_JIT": ("1", "runs every operation by itself: training is a hundred times slower"),
    "JAX_DEBUG_NANS": ("1", "checks every result: training is much slower"),
}

Problems = list[dict[str, str]]


def examine() -> dict[str, Any]:
    """Everything that `operant doctor --json` prints; `problems` are of `what` and `fix`, a line each."""
    problems: Problems = []
    return {
        "operant": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": _platform(problems),
        "packages": _packages(problems),
        "devices": _devices(problems),
        "extras": {name: _version(shown) is not None for name, (shown, _) in EXTRAS.items()},
        "settings": _settings(problems),
        "cache": _cache(problems),
        "runs": _runs(problems),
        "terminal": {
            "encoding": getattr(sys.stderr, "encoding", None),
            "interactive": sys.stderr.isatty(),
            "notebook": "ipykernel" in sys.modules,
        },
        "problems": problems,
    }


def _platform(problems: Problems) -> dict[str, Any]:
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        _note(problems, "JAX has no current version for Intel Macs, nor for Python under Rosetta",
              "on Apple silicon, install an arm64 Python")  # fmt: skip
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}


def _packages(problems: Problems) -> dict[str, str | None]:
    """What Operant declares that it needs, with the versions that are here."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in metadata.requires("operant") or []]
    except metadata.PackageNotFoundError:
        _note(problems, "Operant is imported from a folder, not installed", "pip install -e . -c constraints.txt")
        return {}
    found = {}
    for need in declared:
        if need.marker is None:
            version = found[need.name] = _version(need.name)
            if version is None or not need.specifier.contains(version, prereleases=True):
                here = "is missing" if version is None else f"{version} is too old"
                _note(problems, f"{need.name} {here}", f"pip install '{need.name}{need.specifier}'")
    if importlib.util.find_spec("pygame") is None:  # of either distribution
        _note(problems, "pygame is missing: no episode.gif", "pip install 'gymnasium[classic-control]'")
    if found.get("jax") and _version("jaxlib") != found["jax"]:
        _note(problems, f"jax {found['jax']} and jaxlib {_version('jaxlib')} do not match", "pip install -U jax jaxlib")
    return found


def _devices(problems: Problems) -> list[str]:
    try:
        import jax

        devices = [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
    except Exception as error:
        told = str(error).strip().partition("\n")[0][:200]
        _note(problems, f"JAX does not start ({type(error).__name__}: {told})",
              "JAX_PLATFORMS=cpu uses the processor alone; pip install -U jax jaxlib renews it")  # fmt: skip
        return []
    if all(device.startswith("cpu") for device in devices) and shutil.which("nvidia-smi"):
        chosen = os.environ.get("JAX_PLATFORMS")
        fix = "unset JAX_PLATFORMS" if chosen else "pip install -e '.[cuda]'"
        on_windows = "install Operant in WSL2: JAX has no GPU support on Windows itself"
        _note(problems, "there is an NVIDIA GPU, but JAX uses only the processor",
              on_windows if sys.platform == "win32" else fix)  # fmt: skip
    return devices


def _settings(problems: Problems) -> dict[str, str]:
    for name, (value, effect) in SETTINGS.items():
        if os.environ.get(name, "").lower() in (value, "true"):
            _note(problems, f"{name} {effect}", f"unset {name}")
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(("JAX_", "XLA_"))}


def _cache(problems: Problems) -> dict[str, Any]:
    """Where compiled programs are kept between processes."""
    from operant.core.runtime import programs_folder

    folder = programs_folder()
    if folder is None:
        return {"folder": None, "bytes": 0, "writable": False}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    writable = _writable(folder)
    if not writable:
        _note(problems, f"{folder} cannot be written: every process compiles anew", "set JAX_COMPILATION_CACHE_DIR")
    return {"folder": str(folder), "bytes": size, "writable": writable}


def _runs(problems: Problems) -> dict[str, Any]:
    """Where `operant train` makes its folders, unless `--out` says otherwise."""
    folder = Path("runs").absolute()
    writable = _writable(folder)
    free = shutil.disk_usage(_existing(folder)).free
    if not writable:
        _note(problems, f"{folder} cannot be written", "train with --out DIR, or from another folder")
    elif free < LEAST_FREE:
        _note(problems, f"{folder} has {size(free)} left", "train with --out DIR on another disk")
    return {"folder": str(folder), "free_bytes": free, "writable": writable}


def _note(problems: Problems, what: str, fix: str) -> None:
    problems.append({"what": what, "fix": fix})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or where `folder` would be made."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return True
    except OSError:
        return False


def size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
