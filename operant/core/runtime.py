"""JAX as training wants it: programs kept, small ones run where they are called, a device a core, exact products."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import jax

from operant.errors import OperantError, unknown

DEVICES = ("auto", "cpu", "gpu")
LINUX = sys.platform == "linux"  # where a process may be held to some of the cores


def prepare() -> None:
    """All of the below; to be called before the first array is made, without effect on what the user has chosen."""
    keep_programs()
    run_inline()
    use_cores()
    multiply_exactly()


def check(device: str) -> None:
    """Raise `OperantError` for a device that has no name here."""
    if device not in DEVICES:
        raise unknown("device", str(device), DEVICES)


@contextlib.contextmanager
def on(device: str) -> Iterator[list[Any] | None]:
    """Run what is inside on the `cpu`, on the `gpu`, or (`auto`) where JAX would; yields the devices, None for `auto`.

    Where JAX has not started, `cpu` keeps it off the other devices for good: it would take their memory. Raises
    `OperantError` where there is no such device.
    """
    if device == "auto":
        yield None
        return
    config: Any = jax.config
    if device == "cpu" and not config.jax_platforms:
        config.update("jax_platforms", "cpu")  # without effect once JAX has started
    try:
        found = jax.devices(device)
    except RuntimeError:
        only = " (JAX was started on the CPU alone in this process)" if config.jax_platforms == "cpu" else ""
        raise OperantError(f"device: JAX finds no {device}{only}: pip install 'operant[cuda]' for NVIDIA's") from None
    with jax.default_device(found[0]):
        yield found


def use_cores() -> None:
    """Show JAX one CPU device for each core, so that several seeds are trained on all of them.

    A small network's operations are too short to be divided among threads; whole seeds are not. Whatever runs on one
    device is not concerned. No effect once JAX has started.
    """
    config: Any = jax.config
    if "JAX_NUM_CPU_DEVICES" in os.environ or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # JAX has started
        config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)) if LINUX else os.cpu_count() or 1)


def run_inline() -> None:
    """Run programs on the CPU in the calling thread.

    The host driver waits for each action; handing so small a program to another thread and back takes longer than
    running it. No effect once JAX has started.
    """
    if "JAX_CPU_ENABLE_ASYNC_DISPATCH" not in os.environ:
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def multiply_exactly() -> None:
    """Multiply matrices in float32 on every device; a GPU would round the factors to ten bits (TF32).

    Small networks gain nothing from that, and results would differ between devices in the fourth digit.
    """
    config: Any = jax.config
    if config.jax_default_matmul_precision is None:
        config.update("jax_default_matmul_precision", "float32")


def once() -> dict[str, Any]:
    """Compiler options for a program that runs once: compiled in less time, slower where it is not felt."""
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    return {name: value for name, value in options.items() if known(name, value)}


@functools.cache
def known(name: str, value: Any) -> bool:
    """Whether this JAX's compiler has such an option; they come and go."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def keep_programs() -> None:
    """Keep compiled programs between processes; `JAX_COMPILATION_CACHE_DIR` decides where, empty for nowhere."""
    config: Any = jax.config
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or config.jax_compilation_cache_dir:
        return
    folder = _own_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home only costs the compilation
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def programs_folder() -> Path | None:
    """Where compiled programs are kept, None for nowhere."""
    config: Any = jax.config
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or config.jax_compilation_cache_dir:
        chosen = config.jax_compilation_cache_dir or os.environ["JAX_COMPILATION_CACHE_DIR"]
        return Path(chosen) if chosen else None
    return _own_folder()


def _own_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("operant")) / "compiled"


def narrow() -> Any:
    """A context in which numbers are of 32 bits, as the library keeps them, whatever the process has chosen."""
    enable: Any = getattr(jax, "enable_x64", None)
    if enable is None:  # JAX before 0.8
        enable = import_module("jax.experimental").enable_x64
    return enable(False)
