"""Every library that the equations claim to serve, at each precision, and random windows of experience."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch


class Backend:
    """Arrays in and out of one library at one precision; `eps` is that precision's unit roundoff."""

    def __init__(self, library: str, dtype: str) -> None:
        self.library, self.dtype = library, dtype
        self.eps = float(np.finfo(dtype).eps)

    def array(self, x) -> object:
        x = np.asarray(x)
        x = x.astype(self.dtype) if x.dtype.kind == "f" else x
        return {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.tensor}[self.library](x)

    def arrays(self, *xs) -> list:
        return [self.array(x) for x in xs]

    def check(self, actual, expected, scale: float = 1.0) -> None:
        """`actual` is of this library and dtype, and within 8 roundings of `expected` at magnitude `scale`."""
        kind = {"numpy": (np.ndarray, np.generic), "jax": jax.Array, "torch": torch.Tensor}[self.library]
        assert isinstance(actual, kind)
        assert str(actual.dtype).removeprefix("torch.") == self.dtype
        assert tuple(actual.shape) == np.shape(expected)
        np.testing.assert_allclose(np.asarray(actual), expected, rtol=8 * self.eps, atol=8 * self.eps * scale)

    def gradients(self, function: Callable, *xs) -> list[np.ndarray]:
        """Gradients of the sum of `function(*xs)` with respect to each of `xs`."""
        arrays = self.arrays(*xs)
        if self.library == "jax":
            grads = jax.grad(lambda *args: function(*args).sum(), argnums=tuple(range(len(xs))))(*arrays)
        else:
            arrays = [a.requires_grad_() for a in arrays]
            grads = torch.autograd.grad(function(*arrays).sum(), arrays, allow_unused=True, materialize_grads=True)
        return [np.asarray(g) for g in grads]


def _entered(library: str, dtype: str) -> Iterator[Backend]:
    # x64 only inside this context; implicit rank promotion ([B] against [T, B]) is always an error.
    with jax.enable_x64(dtype == "float64"), jax.numpy_rank_promotion("raise"):
        yield Backend(library, dtype)


BACKENDS = [(library, dtype) for library in ("numpy", "jax", "torch") for dtype in ("float64", "float32")]


@pytest.fixture(params=BACKENDS, ids="-".join)
def backend(request) -> Iterator[Backend]:
    yield from _entered(*request.param)


@pytest.fixture(params=[("jax", "float64"), ("torch", "float64")], ids="-".join)
def differentiable(request) -> Iterator[Backend]:
    yield from _entered(*request.param)


class Data(NamedTuple):
    rewards: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def continues(self):
        return 1.0 - self.terminated

    @property
    def last(self):
        return self.terminated | self.truncated

    @property
    def plain(self):  # what every return without a baseline takes
        return self.rewards, self.next_values, self.continues, self.last

    @property
    def full(self):
        return self.rewards, self.values, self.next_values, self.continues, self.last

    @property
    def scale(self):
        return np.abs([self.rewards, self.values, self.next_values]).sum()


def make(steps=7, batch=3, seed=0, ends=0.3, precision="float64") -> Data:
    """A window whose values agree: V(next) is the next step's value, except where the episode ended."""
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.normal(size=(3, steps, batch)).astype(precision).astype(float)
    terminated, truncated = rng.uniform(size=(2, steps, batch)) < ends / 2
    next_values[:-1] = np.where((terminated | truncated)[:-1], next_values[:-1], values[1:])
    return Data(rewards, values, next_values, terminated, truncated)


@pytest.fixture(scope="session")
def window() -> Callable[..., Data]:
    return make
