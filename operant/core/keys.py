"""Randomness by role: one key per role and iteration, whatever the methods are called and however long a chunk is."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# The numbers are part of the stream: changing one changes every result.
INIT, RESET, POOL, ACT, STEP, LEARN, START, EVALUATE, ACTOR = range(9)


def root(seed: int) -> Array:
    """The key of a seed; threefry, so that streams do not depend on the platform's default."""
    return jax.random.key(seed, impl="threefry2x32")


def roots(seed: int, count: int) -> Array:
    """The keys of `count` seeds, the first being `seed`; `[count]`."""
    # Put together on the host: as a program, a stack of thousands of keys takes minutes to compile.
    words = np.stack([jax.random.key_data(root(seed + k)) for k in range(count)])
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def role(key: Array, number: int, time: Array | int = 0) -> Array:
    """The key of role `number` at absolute iteration (or step) `time`."""
    return jax.random.fold_in(jax.random.fold_in(key, number), time)


def actor(key: Array, number: int) -> Array:
    """The key of actor `number` in a run with `key`; the first has the run's own, as if it were alone."""
    return role(key, ACTOR, number) if number else key
