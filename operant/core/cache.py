"""JAX's persistent compilation cache, in the user's cache directory, unless the user has chosen otherwise."""

import os
from pathlib import Path

import jax


def enable() -> None:
    """Keep compiled programs between processes; `JAX_COMPILATION_CACHE_DIR` decides where, empty for nowhere."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.read("jax_compilation_cache_dir"):
        return
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("operant")) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home only costs the compilation
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
