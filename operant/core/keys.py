"""Randomness by role: one key per role and iteration, whatever the methods are called and however long a chunk is."""

import jax
from jax import Array

# The numbers are part of the stream: changing one changes every result.
INIT, RESET, POOL, ACT, STEP, LEARN, START, EVALUATE = range(8)


def root(seed: int) -> Array:
    """The key of a seed; threefry, so that streams do not depend on the platform's default."""
    return jax.random.key(seed, impl="threefry2x32")


def role(key: Array, number: int, time: Array | int = 0) -> Array:
    """The key of role `number` at absolute iteration (or step) `time`."""
    return jax.random.fold_in(jax.random.fold_in(key, number), time)
