"""Networks as recipes: hashable descriptions that build equinox modules from a key and the features' shape.

A body is any `equinox.Module` on ONE example: `body(features) -> [H]`, or with memory, if it has a method
`start() -> memory`, `body(memory, features) -> (memory, [H])`. A recipe is anything callable and hashable
`(key, features_shape) -> body`: the dataclasses below, or a user's own equinox class.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError
from operant.parts.networks.layers import Convolution, Linear

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}
HIDDEN_GAIN = math.sqrt(2.0)

Recipe: TypeAlias = Callable[[Array, tuple[int, ...]], Any]


class Feedforward(eqx.Module):
    """Convolutions, then a flattening, then linear layers, an activation after each."""

    convolutions: tuple[Convolution, ...]
    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        activation = ACTIVATIONS[self.activation]
        for convolution in self.convolutions:
            x = activation(convolution(x))
        x = x.reshape(-1)
        for layer in self.layers:
            x = activation(layer(x))
        return x


def _build(
    key: Array,
    shape: tuple[int, ...],
    convolutions: tuple[tuple[int, int, int], ...],
    hidden: tuple[int, ...],
    activation: str,
    gain: float | None,
) -> Feedforward:
    if activation not in ACTIVATIONS:
        raise OperantError(f"unknown activation {activation!r}: known are {', '.join(ACTIVATIONS)}")
    if any(size < 1 for size in hidden):
        raise OperantError(f"hidden layers need at least one unit each, not {hidden}")
    keys = iter(jax.random.split(key, len(convolutions) + len(hidden) + 1))
    if convolutions and len(shape) != 3:
        raise OperantError(f"a convolutional network needs image observations [H, W, C], not features of shape {shape}")
    convs = []
    for channels, kernel, stride in convolutions:
        if channels < 1:
            raise OperantError(f"a convolution needs at least one channel, not {channels}")
        if min(shape[:2]) < kernel:
            raise OperantError("the image is too small for this convolutional network")
        convs.append(Convolution(next(keys), shape[2], channels, kernel, stride, gain))
        shape = (*((side - kernel) // stride + 1 for side in shape[:2]), channels)
    size, layers = math.prod(shape), []
    for width in hidden:
        layers.append(Linear(next(keys), size, width, gain))
        size = width
    return Feedforward(tuple(convs), tuple(layers), activation)


def _gain(initialisation: str) -> float | None:
    if initialisation not in ("orthogonal", "uniform"):
        raise OperantError(f"unknown initialisation {initialisation!r}: known are orthogonal, uniform")
    return HIDDEN_GAIN if initialisation == "orthogonal" else None


@dataclass(frozen=True)
class MLP:
    """Fully connected layers. `initialisation`: `orthogonal` (gain sqrt 2) or `uniform` (+-1/sqrt(fan in))."""

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    initialisation: str = "orthogonal"

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Feedforward:
        return _build(key, shape, (), self.hidden, self.activation, _gain(self.initialisation))


@dataclass(frozen=True)
class MinAtarCNN:
    """One 3x3 convolution of 16 channels and one layer of 128 (Young & Tian 2019)."""

    channels: int = 16
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    initialisation: str = "orthogonal"

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Feedforward:
        convolutions = ((self.channels, 3, 1),)
        return _build(key, shape, convolutions, self.hidden, self.activation, _gain(self.initialisation))


@dataclass(frozen=True)
class NatureCNN:
    """Three convolutions and a layer of 512 for 84x84 frames (Mnih et al. 2015)."""

    hidden: tuple[int, ...] = (512,)
    activation: str = "relu"
    initialisation: str = "orthogonal"

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Feedforward:
        convolutions = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
        return _build(key, shape, convolutions, self.hidden, self.activation, _gain(self.initialisation))


class Recurrent(eqx.Module):
    """A feed-forward body followed by a gated recurrent unit (Cho et al. 2014)."""

    body: Feedforward
    cell: eqx.nn.GRUCell

    def start(self) -> Array:
        return jnp.zeros(self.cell.hidden_size)

    def __call__(self, memory: Array, x: Array) -> tuple[Array, Array]:
        memory = self.cell(self.body(x), memory)
        return memory, memory


@dataclass(frozen=True)
class GRU:
    """Fully connected layers, then a gated recurrent unit of `size`: a network with memory."""

    size: int = 64
    hidden: tuple[int, ...] = (64,)
    activation: str = "tanh"

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Recurrent:
        if self.size < 1:
            raise OperantError(f"a recurrent unit needs a size of at least 1, not {self.size}")
        key_body, key_cell = jax.random.split(key)
        body = MLP(self.hidden, self.activation)(key_body, shape)
        width = self.hidden[-1] if self.hidden else math.prod(shape)
        return Recurrent(body, eqx.nn.GRUCell(width, self.size, key=key_cell))
