"""Random matrices with orthonormal columns or rows, by matrix products alone."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

LARGEST_ERROR = 1e-5  # of an entry of Q'Q - I, in float32
MOST_ROUNDS = 200


def orthogonal(key: Array, shape: tuple[int, int], gain: float = 1.0) -> Array:
    """A matrix `[rows, columns]`, uniformly distributed among those with orthonormal columns (or rows), times `gain`.

    The polar factor of a Gaussian matrix, by the Newton-Schulz iteration X <- X (3 I - X'X) / 2 (Higham 2008,
    equation 8.20). Not by QR: batches of QR factorisations in one program (many seeds, several layers) can
    deadlock XLA's thread pool on CPU. In full float32: an accelerator's shorter products would never converge.
    """
    rows, columns = max(shape), min(shape)
    # A Gaussian matrix has its largest singular value near this, and the iteration converges below sqrt 3.
    x = jax.random.normal(key, (rows, columns)) / (math.sqrt(rows) + math.sqrt(columns))
    identity = jnp.eye(columns)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def unfinished(loop: tuple[Array, Array, Array]) -> Array:
        return (loop[1] < MOST_ROUNDS) & (loop[2] > LARGEST_ERROR)

    def improve(loop: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, count, _ = loop
        gram = product(x.T, x)
        return product(x, 1.5 * identity - 0.5 * gram), count + 1, jnp.max(jnp.abs(gram - identity))

    x, _, _ = jax.lax.while_loop(unfinished, improve, (x, jnp.int32(0), jnp.float32(1.0)))
    return gain * (x if shape[0] >= shape[1] else x.T)
