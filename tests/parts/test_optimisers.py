"""Optimisers against optax used directly, and clipping by the norm of the whole gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from operant.parts.optimisers import SGD, Adam, RMSProp, descend

PARAMETERS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.1, 0.0])}


def loss(parameters):
    return jnp.sum(jnp.sin(parameters["w"]) ** 2) + jnp.sum((parameters["w"] @ jnp.ones(2) - parameters["b"]) ** 4)


def ours(optimiser, rates, bound=None):
    parameters, moments, norms = PARAMETERS, optimiser.transform().init(PARAMETERS), []
    for rate in rates:
        parameters, moments, norm = descend(optimiser, jax.grad(loss)(parameters), moments, parameters, rate, bound)
        norms.append(norm)
    return parameters, norms


def theirs(transform, steps):
    parameters, state, norms = PARAMETERS, transform.init(PARAMETERS), []
    for _ in range(steps):
        gradient = jax.grad(loss)(parameters)
        norms.append(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient))))
        updates, state = transform.update(gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return parameters, norms


@pytest.mark.parametrize(
    "optimiser, twin",
    [
        (Adam(), optax.adam(0.01)),
        (Adam(0.8, 0.95, 1e-3), optax.adam(0.01, 0.8, 0.95, 1e-3)),
        (RMSProp(0.9, 1e-2), optax.rmsprop(0.01, 0.9, 1e-2, eps_in_sqrt=True)),
        (RMSProp(0.9, 1e-2, centred=True), optax.rmsprop(0.01, 0.9, 1e-2, centered=True, eps_in_sqrt=True)),
        (SGD(), optax.sgd(0.01)),
    ],
)
@pytest.mark.parametrize("bound", [None, 0.5])
def test_four_steps_equal_optax(optimiser, twin, bound):
    if bound is not None:
        twin = optax.chain(optax.clip_by_global_norm(bound), twin)
    found, norms = ours(optimiser, [jnp.float32(0.01)] * 4, bound)
    expected, known = theirs(twin, 4)
    # The clip divides by the norm + 1e-6, which is above 1 here.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    np.testing.assert_allclose(norms, known, rtol=1e-5)
    assert min(known) > 1.0


def test_optimisers_differ():
    ends = [ours(o, [0.01] * 4)[0]["b"] for o in (Adam(), RMSProp(), RMSProp(centred=True), SGD())]
    assert len({tuple(np.round(end, 6)) for end in map(np.asarray, ends)}) == 4


def test_clipping_scales_the_whole_gradient_and_reports_the_norm_before():
    gradient = {"w": jnp.array([[3.0, 0.0], [0.0, 0.0]]), "b": jnp.array([0.0, 4.0])}
    state = SGD().transform().init(gradient)
    zeros = jax.tree.map(jnp.zeros_like, gradient)
    moved, _, norm = descend(SGD(), gradient, state, zeros, jnp.float32(1.0), 1.0)
    assert norm == 5.0
    np.testing.assert_allclose(-moved["w"][0, 0], 0.6, rtol=1e-6)  # elementwise clipping gives 1 and 1
    np.testing.assert_allclose(-moved["b"][1], 0.8, rtol=1e-6)
    moved, _, norm = descend(SGD(), gradient, state, zeros, jnp.float32(1.0), 6.0)
    assert norm == 5.0 and moved["b"][1] == -4.0  # below the bound nothing changes
    moved, _, norm = descend(SGD(), zeros, state, zeros, jnp.float32(1.0), 1.0)
    assert norm == 0.0 and not any(np.any(leaf) for leaf in jax.tree.leaves(moved))


def test_rate_and_bound_are_data():
    traced = []

    @jax.jit
    def step(rate, bound):
        traced.append(1)
        gradient = {"x": jnp.array([3.0, 4.0])}
        return descend(SGD(), gradient, SGD().transform().init(gradient), gradient, rate, bound)[0]["x"]

    np.testing.assert_allclose(step(1.0, 5.0), [0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(step(0.5, 2.5), [2.25, 3.0], rtol=1e-5)
    assert len(traced) == 1
