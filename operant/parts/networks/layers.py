"""What networks are made of: linear layers, convolutions and their initial weights."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from operant.parts.networks.orthogonal import orthogonal

# Kernels of up to this many strides a side are one product of copied patches, which take this, squared, times the
# image's memory.
MOST_BLOCKS = 4


def initial_weight(key: Array, shape: tuple[int, int], gain: float | None) -> Array:
    """A weight `[in, out]`: orthogonal times `gain` (Saxe et al. 2014), or uniform +-1/sqrt(in) for None."""
    if gain is not None:
        return orthogonal(key, shape, gain)
    bound = 1.0 / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


class Linear(eqx.Module):
    """x @ weight + bias on `[..., in]`; zero bias with orthogonal weights, uniform +-1/sqrt(in) otherwise."""

    weight: Array
    bias: Array

    def __init__(self, key: Array, size_in: int, size_out: int, gain: float | None):
        key_weight, key_bias = jax.random.split(key)
        self.weight = initial_weight(key_weight, (size_in, size_out), gain)
        bound = 0.0 if gain is not None else 1.0 / math.sqrt(size_in)
        self.bias = jax.random.uniform(key_bias, (size_out,), jnp.float32, -1.0, 1.0) * bound

    def __call__(self, x: Array) -> Array:
        return x @ self.weight + self.bias.reshape(*[1] * (x.ndim - 1), -1)


class Convolution(eqx.Module):
    """A valid 2-D convolution of one image `[H, W, C]`."""

    weight: Array  # [height, width, in, out]
    bias: Array
    stride: int = eqx.field(static=True)

    def __init__(self, key: Array, size_in: int, size_out: int, kernel: int, stride: int, gain: float | None):
        # Orthogonal over (height * width * in) x out, as a matrix acting on patches.
        flat = initial_weight(key, (kernel * kernel * size_in, size_out), gain)
        self.weight = flat.reshape(kernel, kernel, size_in, size_out)
        self.bias = jnp.zeros(size_out)
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        kernel, stride = self.weight.shape[0], self.stride
        if kernel % stride == 0 and kernel // stride <= MOST_BLOCKS:
            # As one product of all patches: XLA's convolutions are slow on the CPU within loops, and where several
            # seeds have weights of their own.
            out = _patches(x, kernel, stride) @ _by_blocks(self.weight, stride)
        else:
            strides = (stride, stride)
            out = jax.lax.conv_general_dilated(
                x[None], self.weight, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )[0]
        return out + self.bias.reshape(1, 1, -1)


def _patches(x: Array, kernel: int, stride: int) -> Array:
    """What a kernel sees at each place of `x` `[H, W, C]`: `[rows, columns, kernel^2 C]`, block by block.

    A block is `stride` x `stride` pixels, so that a step of the kernel is one block, and few copies are shifted.
    """
    across = kernel // stride
    rows, columns = ((side - kernel) // stride + across for side in x.shape[:2])
    blocks = x[: rows * stride, : columns * stride].reshape(rows, stride, columns, stride, -1).swapaxes(1, 2)
    blocks = blocks.reshape(rows, columns, -1)
    ends = rows - across + 1, columns - across + 1
    corners = [(row, column) for row in range(across) for column in range(across)]
    return jnp.concatenate([blocks[i : ends[0] + i, j : ends[1] + j] for i, j in corners], axis=-1)


def _by_blocks(weight: Array, stride: int) -> Array:
    """A kernel `[height, width, in, out]` as a matrix `[height width in, out]` whose rows are ordered as in patches."""
    across, channels = weight.shape[0] // stride, weight.shape[2:]
    return weight.reshape(across, stride, across, stride, *channels).swapaxes(1, 2).reshape(-1, channels[-1])
