import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant.equations.recurrence import reverse_recurrence


def definition(a, b, end):
    a, b = np.broadcast_arrays(a, b)
    x, xs = np.broadcast_to(end, b.shape[1:]), []
    for t in reversed(range(len(b))):
        x = a[t] * x + b[t]
        xs.append(x)
    return np.stack(xs[::-1])


@pytest.mark.parametrize("shape", [(1,), (1, 2), (2, 3), (5, 2), (8, 1), (13, 2, 2)])
def test_is_the_loop(backend, shape):
    rng = np.random.default_rng(len(shape) + shape[0])
    a, b = rng.uniform(-1, 1, shape), rng.normal(size=shape)
    a, b = (x.astype(backend.dtype).astype(float) for x in (a, b))
    scale = np.abs(b).sum()
    backend.check(reverse_recurrence(*backend.arrays(a, b)), definition(a, b, 0.0), scale)
    end = rng.normal(size=shape[1:]).astype(backend.dtype)
    backend.check(reverse_recurrence(*backend.arrays(a, b, end)), definition(a, b, end.astype(float)), scale)


@given(steps=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_doubling_is_right_for_every_length_and_cut(steps, seed, share):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1.1, 1.1, (steps, 3)) * (rng.uniform(size=(steps, 3)) > share)
    b, end = rng.normal(size=(steps, 3)), rng.normal(size=3)
    expected = definition(a, b, end)
    np.testing.assert_allclose(reverse_recurrence(a, b, end), expected, rtol=1e-12, atol=1e-11)


def test_coefficients_broadcast(backend):
    a, b = np.full((4, 1), 0.5), np.ones((4, 2))
    backend.check(reverse_recurrence(*backend.arrays(a, b)), definition(a, b, 0.0))


def test_gradients_are_the_products(differentiable):
    # x_0 = Σ_t (a_0 ... a_{t-1}) b_t + (a_0 ... a_{T-1}) end
    rng = np.random.default_rng(0)
    a, b, end = rng.uniform(0.1, 0.9, (6, 2)), rng.normal(size=(6, 2)), rng.normal(size=2)
    along_a, along_b, along_end = differentiable.gradients(lambda *args: reverse_recurrence(*args)[0], a, b, end)
    products = np.cumprod(np.concatenate([np.ones((1, 2)), a]), axis=0)
    later = np.concatenate([definition(a, b, end)[1:], end[None]])
    np.testing.assert_allclose(along_b, products[:-1], rtol=1e-13)
    np.testing.assert_allclose(along_end, products[-1], rtol=1e-13)
    np.testing.assert_allclose(along_a, products[:-1] * later, rtol=1e-12)


def test_jit_vmap_and_grad_compose():
    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(rng.uniform(size=(3, 5, 2)), jnp.float32) for _ in range(2))
    first = jax.jit(jax.vmap(jax.grad(lambda b, a: reverse_recurrence(a, b)[0].sum())))(b, a)
    products = np.cumprod(np.concatenate([np.ones((3, 1, 2)), a[:, :-1]], axis=1), axis=1)
    np.testing.assert_allclose(first, products, rtol=5e-7)
