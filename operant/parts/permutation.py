"""Random permutations without sorting: a keyed bijection of the integers, evaluated at every index.

Sorting random keys costs O(N log N) and, on a CPU, as much as several gradient steps. Here index i goes to
p(i), where p is a bijection on `[0, 2^b)`, the smallest power of two holding N, made of multiply-xorshift
rounds; sizes that are no power of two follow p until it falls below N again ("cycle-walking", Black and
Rogaway, *Ciphers with Arbitrary Finite Domains*, 2002, section 3), which is a bijection on `[0, N)`.

Every step of a round can be undone modulo 2^b: xor with a word, product with an odd number, and
x ^ (x >> s) for s >= 1. The product carries low bits upwards, the shift brings high bits down. The result is
statistically uniform in what shuffling asks (positions, minibatches, pairs of indices, all orders of a few);
it is no cipher.
"""

import jax
import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError


def num_rounds(bits: int) -> int:
    """Enough that 100,000 keys show no dependence between pairs; a round mixes less where words are short."""
    return 24 if bits < 6 else 10


def permutation(key: Array, n: int) -> Array:
    """A pseudo-random order of `0, ..., n - 1`, int32 `[n]`; `n` is static.

    Consumes `key`. Works under `jit` and `vmap`; under `vmap` cycle-walking lasts as long as the slowest key.
    Raises `OperantError` where `n` is negative or does not fit int32.
    """
    if not 0 <= n <= 2**31:
        raise OperantError(f"a permutation of {n} indices: the size must lie in [0, 2^31]")
    bits = max(n - 1, 0).bit_length()
    words = jax.random.bits(key, (num_rounds(bits), 2), jnp.uint32)
    index = jnp.arange(n, dtype=jnp.uint32)
    return permute(words, index, n, 2**bits - 1, max((bits + 1) // 2, 1)).astype(jnp.int32)


def permute(words: Array, index: Array, n: Array | int, mask: Array | int, shift: Array | int) -> Array:
    """Where `index` (uint32, below `n`) goes in `[0, n)`; `words` uint32 `[rounds, 2]`, `mask` is 2^b - 1 >= n - 1."""

    def bijection(x: Array) -> Array:
        for flip, factor in words:
            x = ((x ^ flip) * (factor | 1)) & mask
            x = x ^ (x >> shift)
        return x

    return jax.lax.while_loop(lambda x: jnp.any(x >= n), lambda x: jnp.where(x >= n, bijection(x), x), bijection(index))
