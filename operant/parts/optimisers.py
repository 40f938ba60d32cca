"""Optimisers as recipes over optax: hashable structure, while the learning rate and the norm bound stay data."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import optax
from jax import Array


@runtime_checkable
class Optimiser(Protocol):
    """A recipe for a gradient transformation, without its learning rate."""

    def transform(self) -> Any: ...


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015). `eps` is 1e-5 in the reference PPO, 1e-8 in the paper."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def transform(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.b1, self.b2, self.eps)


@dataclass(frozen=True)
class RMSProp:
    """RMSProp with `eps` inside the square root, as TensorFlow's (the reference for A3C and Atari DQN)."""

    decay: float = 0.99
    eps: float = 1e-5
    centred: bool = False

    def transform(self) -> optax.GradientTransformation:
        scale = optax.scale_by_stddev if self.centred else optax.scale_by_rms
        return scale(self.decay, self.eps, eps_in_sqrt=True)


@dataclass(frozen=True)
class RAdam:
    """Adam whose step size is rectified while its moments rest on few gradients (Liu et al. 2020)."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def transform(self) -> optax.GradientTransformation:
        return optax.scale_by_radam(self.b1, self.b2, self.eps)


@dataclass(frozen=True)
class SGD:
    """Plain stochastic gradient descent."""

    def transform(self) -> optax.GradientTransformation:
        return optax.identity()


def descend(
    optimiser: Optimiser,
    gradient: Any,
    moments: Any,
    parameters: Any,
    learning_rate: Array,
    max_gradient_norm: Array | float | None = None,
) -> tuple[Any, Any, Array]:
    """One descent step: `(parameters, moments, global norm of the gradient before clipping)`."""
    norm = optax.tree.norm(gradient)
    if max_gradient_norm is not None:
        scale = jax.numpy.minimum(1.0, max_gradient_norm / (norm + 1e-6))
        gradient = jax.tree.map(lambda leaf: leaf * scale, gradient)
    direction, moments = optimiser.transform().update(gradient, moments, parameters)
    parameters = jax.tree.map(lambda p, d: p - learning_rate * d, parameters, direction)
    return parameters, moments, norm
