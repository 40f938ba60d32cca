"""Networks of action values: dueling streams and noisy layers, as recipes around any other recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.parts.component import check_range
from operant.parts.networks.layers import Linear
from operant.parts.networks.recipes import MLP, Recipe

BODY = MLP((120, 84), "relu", "uniform")


class Streams(eqx.Module):
    """A value and advantages: v + a - mean a over the actions, each output of an action by itself."""

    value: tuple[Linear, ...]
    advantage: tuple[Linear, ...]
    num_actions: int = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        """Hidden units `[..., H]` to outputs `[..., A * size]`."""
        value, advantage = _stream(self.value, x), _stream(self.advantage, x)
        advantage = advantage.reshape(*x.shape[:-1], self.num_actions, -1)
        centred = advantage - jnp.mean(advantage, axis=-2, keepdims=True)
        return (value[..., None, :] + centred).reshape(*x.shape[:-1], -1)


def _stream(layers: tuple[Linear, ...], x: Array) -> Array:
    for layer in layers[:-1]:
        x = jax.nn.relu(layer(x))
    return layers[-1](x)


@dataclass(frozen=True)
class Dueling:
    """Separate streams for the value and for the advantages on one body (Wang et al. 2016, eq. 9).

    `hidden`: the widths of each stream's own layers; without any the streams are linear, which says nothing that one
    linear head could not and only learns it otherwise. Distributions have a stream of each for every atom or quantile
    (Hessel et al. 2018, section "The Integrated Agent"). Deviation: the gradient into the body is not scaled down.
    Advantages are centred over all actions, also where some are illegal.
    """

    body: Recipe = BODY
    hidden: tuple[int, ...] = ()

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Any:
        return self.body(key, shape)

    def head(self, key: Array, width: int, num_actions: int, size: int) -> Streams:
        """The streams on `width` hidden units, with `size` outputs for each action."""
        key_value, key_advantage = jax.random.split(key)
        widths = width, *self.hidden

        def stream(key: Array, outputs: int) -> tuple[Linear, ...]:
            keys = jax.random.split(key, len(widths))
            layers = zip(keys, widths, (*self.hidden, outputs), strict=True)
            return tuple(Linear(k, size_in, size_out, None) for k, size_in, size_out in layers)

        return Streams(stream(key_value, size), stream(key_advantage, num_actions * size), num_actions)


class NoisyLinear(Linear):
    """A linear layer whose weights are normal around their means; called as it is, the noise is off."""

    weight_scale: Array  # the standard deviations
    bias_scale: Array

    def __init__(self, layer: Linear, sigma: float):
        size_in, size_out = layer.weight.shape
        self.weight, self.bias = layer.weight, layer.bias
        scale = jnp.float32(sigma / math.sqrt(size_in))  # strong, or a driver would compile again
        self.weight_scale, self.bias_scale = jnp.full((size_in, size_out), scale), jnp.full(size_out, scale)

    def drawn(self, noise: Array) -> "NoisyLinear":
        """The layer with its weights drawn: `noise` `[in + out]` is f of a normal number for each (eqs. 10 and 11)."""
        row, column = jnp.split(noise, self.weight.shape[:1])
        weight = self.weight + self.weight_scale * row[:, None] * column[None, :]
        parts = lambda layer: (layer.weight, layer.bias)  # noqa: E731
        return eqx.tree_at(parts, self, (weight, self.bias + self.bias_scale * column))


@dataclass(frozen=True)
class Noisy:
    """Noise in a network's linear layers, which learn how much (Fortunato et al. 2018, factorised noise).

    To be used in place of other exploration (`exploration=Greedy()`). One draw serves all environments of a step. The
    standard deviations begin at `sigma` / sqrt(inputs).
    """

    body: Recipe = BODY
    sigma: float = 0.5

    def __call__(self, key: Array, shape: tuple[int, ...]) -> Any:
        check_range(self, 0, math.inf, "sigma")
        return self._noisy(self.body(key, shape))

    def head(self, key: Array, width: int, num_actions: int, size: int) -> Any:
        """The body's own head, or a linear one, with noise."""
        return self._noisy(head_of(self.body)(key, width, num_actions, size))

    def _noisy(self, module: Any) -> Any:
        is_layer = lambda node: isinstance(node, Linear)  # noqa: E731
        return jax.tree.map(
            lambda node: NoisyLinear(node, self.sigma) if is_layer(node) else node, module, is_leaf=is_layer
        )


def head_of(recipe: Recipe) -> Callable[[Array, int, int, int], Any]:
    """What builds a recipe's head `(key, width, num_actions, size)`: its own, or a linear layer."""
    plain = lambda key, width, num_actions, size: Linear(key, width, num_actions * size, None)  # noqa: E731
    return getattr(recipe, "head", plain)


def perturbed(network: Any, key: Array) -> Any:
    """`network` with the weights of its noisy layers drawn; without any it is the same. Consumes `key`."""
    is_noisy = lambda node: isinstance(node, NoisyLinear)  # noqa: E731
    nodes, structure = jax.tree.flatten(network, is_leaf=is_noisy)
    sizes = [sum(node.weight.shape) if is_noisy(node) else 0 for node in nodes]
    if not any(sizes):
        return network
    # For all layers at once: many small draws side by side would cost more than the network.
    noise = jax.random.normal(key, (sum(sizes),))
    parts = jnp.split(jnp.sign(noise) * jnp.sqrt(jnp.abs(noise)), np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(
        structure, [node.drawn(part) if is_noisy(node) else node for node, part in zip(nodes, parts, strict=True)]
    )
