"""What holds in every test.

- Rank promotion raises: `[T, B] + [B]` is written out, never guessed. Warnings are errors (pyproject.toml).
- Compiled programs are kept between runs, in `operant/tests` under the user's cache directory, so that the second
  run of the suite is quick. They are keyed by program and versions, so a stale one is never used, and they are
  bounded to 2 GB. A size limit also makes JAX lock the directory, which pytest-xdist's workers share. Commands that
  a test starts inherit the settings. `make clean` leaves the directory; deleting it is always safe.
- The default tests compile fast rather than for speed (XLA_FLAGS): programs are tiny and run for moments. The slow
  ones, which learn, compile as users do; where XLA_FLAGS is set already, it stays.
- There are two CPU devices, as `operant.train` makes one for each core: several seeds are shared among them.
- Slow checks are marked `slow` and chosen with `-m slow`; there is no option of our own.
"""

import gc
import os
from pathlib import Path

import jax

gc.set_threshold(50_000, 20, 50)  # as the command line has it
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "operant" / "tests"

for option, value in {
    "jax_compilation_cache_dir": str(CACHE),
    "jax_compilation_cache_max_size": 2 * 10**9,
    "jax_persistent_cache_min_compile_time_secs": 0.2,
    "jax_num_cpu_devices": 2,
}.items():
    os.environ.setdefault(option.upper(), str(value))
    jax.config.update(option, value)

# One environment variable, read once and inherited by the commands that tests start. A flag that XLA does not know ends
# the process: JAX 0.11 has the second no more.
FAST_TO_COMPILE = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):
    FAST_TO_COMPILE += " --xla_cpu_use_fusion_emitters=false"


def pytest_configure(config):
    if "slow" not in config.option.markexpr.split() or "not" in config.option.markexpr.split():
        os.environ.setdefault("XLA_FLAGS", FAST_TO_COMPILE)


jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "float32")  # as training has it (operant/core/runtime.py)
