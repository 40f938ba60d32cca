"""JAX as training wants it: programs kept between processes, and small programs run where they are called."""

import os
from pathlib import Path
from typing import Any

import jax


def prepare() -> None:
    """Both of the below; to be called before the first array is made, without effect on what the user has chosen."""
    keep_programs()
    run_inline()


def run_inline() -> None:
    """Run programs on the CPU in the calling thread.

    The host driver waits for each action; handing so small a program to another thread and back takes longer than
    running it. No effect once JAX has started.
    """
    if "JAX_CPU_ENABLE_ASYNC_DISPATCH" not in os.environ:
        jax.config.update("jax_cpu_enable_async_dispatch", False)


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
