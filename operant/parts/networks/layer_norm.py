"""Layer normalisation, as a recipe around another recipe."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError
from operant.parts.networks.layers import Convolution, Linear
from operant.parts.networks.recipes import MLP, Recipe

BODY = MLP((120, 84), "relu", "uniform")
SMALLEST = 1e-5  # added to the variance


class Normalised(eqx.Module):
    """A layer whose outputs are normalised over the last axis, then scaled and shifted."""

    layer: Any
    scale: Array
    shift: Array

    def __init__(self, layer: Linear | Convolution):
        size = layer.weight.shape[-1]
        self.layer, self.scale, self.shift = layer, jnp.ones(size), jnp.zeros(size)

    def __call__(self, x: Array) -> Array:
        x = self.layer(x)
        mean, variance = jnp.mean(x, axis=-1, keepdims=True), jnp.var(x, axis=-1, keepdims=True)
        scale, shift = (leaf.reshape(*[1] * (x.ndim - 1), -1) for leaf in (self.scale, self.shift))
        return (x - mean) * jax.lax.rsqrt(variance + SMALLEST) * scale + shift


@dataclass(frozen=True)
class LayerNorm:
    """Every layer of a body normalised before its activation (Ba et al. 2016); the head is left as it is."""

    body: Recipe = BODY

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Any:
        if hasattr(self.body, "head"):
            raise OperantError(f"LayerNorm goes inside a {type(self.body).__name__} network, around its body")
        is_layer = lambda node: isinstance(node, Linear | Convolution)  # noqa: E731
        body = self.body(key, shape)
        return jax.tree.map(lambda node: Normalised(node) if is_layer(node) else node, body, is_leaf=is_layer)
