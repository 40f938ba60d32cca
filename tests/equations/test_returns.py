"""Every return against its forward definition: a sum over what follows, written without any recurrence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operant.equations import discounted_returns, gae, lambda_returns, n_step_returns, td_target, vtrace


def table(function, shape):
    return np.array([[function(t, j) for j in range(shape[1])] for t in range(shape[0])])


def horizon(d, t, j):
    """How many steps from t to the end of its episode or of the window, that step included."""
    ends = np.flatnonzero(d.last[t:, j])
    return ends[0] + 1 if len(ends) else len(d.last) - t


def n_step(d, discount, n):
    def one(t, j):
        m = min(n, horizon(d, t, j))
        end = t + m - 1
        total = sum(discount**k * d.rewards[t + k, j] for k in range(m))
        return total + discount**m * (0.0 if d.terminated[end, j] else d.next_values[end, j])

    return table(one, d.rewards.shape)


def lambda_return(d, discount, trace):
    n_steps = [n_step(d, discount, n) for n in range(1, len(d.rewards) + 1)]

    def one(t, j):
        m = horizon(d, t, j)
        mixed = sum((1 - trace) * trace ** (n - 1) * n_steps[n - 1][t, j] for n in range(1, m))
        return mixed + trace ** (m - 1) * n_steps[m - 1][t, j]

    return table(one, d.rewards.shape)


def errors(d, discount):
    return d.rewards + discount * np.where(d.terminated, 0.0, d.next_values) - d.values


def advantage(d, discount, trace):
    delta = errors(d, discount)
    return table(
        lambda t, j: sum((discount * trace) ** k * delta[t + k, j] for k in range(horizon(d, t, j))), delta.shape
    )


def vtrace_definition(d, log_ratios, discount, clip_rho, clip_c):
    ratios = np.exp(log_ratios)
    rho, c, delta = np.minimum(clip_rho, ratios), np.minimum(clip_c, ratios), errors(d, discount)

    def target(t, j):
        m = horizon(d, t, j)
        terms = (discount**k * np.prod(c[t : t + k, j]) * rho[t + k, j] * delta[t + k, j] for k in range(m))
        return d.values[t, j] + sum(terms)

    targets = table(target, delta.shape)
    inside = np.append(~d.last[:-1], np.zeros_like(d.last[:1]), axis=0)
    after = np.where(inside, np.roll(targets, -1, axis=0), d.next_values)
    return targets, rho * (d.rewards + discount * np.where(d.terminated, 0.0, after) - d.values)


@pytest.mark.parametrize(("steps", "batch"), [(1, 2), (7, 3)])
def test_each_is_its_definition(backend, window, steps, batch):
    d = window(steps, batch, precision=backend.dtype)
    log_ratios = np.random.default_rng(9).normal(size=d.rewards.shape).astype(backend.dtype)
    plain, full = backend.arrays(*d.plain), backend.arrays(*d.full)
    backend.check(discounted_returns(*plain, 0.9), n_step(d, 0.9, steps), d.scale)
    backend.check(lambda_returns(*plain, 0.9, 0.8), lambda_return(d, 0.9, 0.8), d.scale)
    backend.check(gae(*full, 0.9, 0.8), advantage(d, 0.9, 0.8), d.scale)
    for n in (1, 3, steps + 2):
        backend.check(n_step_returns(*plain, 0.9, n), n_step(d, 0.9, n), d.scale)
    for clips in ((1.0, 1.0), (1.5, 0.7)):
        found = vtrace(backend.array(log_ratios), *full, 0.9, *clips)
        for actual, expected in zip(found, vtrace_definition(d, log_ratios.astype(float), 0.9, *clips), strict=True):
            backend.check(actual, expected, d.scale)


@given(
    steps=st.integers(1, 20),
    batch=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    ends=st.sampled_from([0.0, 0.2, 0.6, 2.0]),
    discount=st.floats(0, 1),
    trace=st.floats(0, 1),
    n=st.integers(1, 22),
)
@settings(deadline=None, max_examples=60)
def test_every_shape_and_ending(window, steps, batch, seed, ends, discount, trace, n):
    d = window(steps, batch, seed, ends)
    log_ratios = np.random.default_rng(seed).normal(size=d.rewards.shape)
    pairs = [
        (discounted_returns(*d.plain, discount), n_step(d, discount, steps)),
        (lambda_returns(*d.plain, discount, trace), lambda_return(d, discount, trace)),
        (n_step_returns(*d.plain, discount, n), n_step(d, discount, n)),
        (gae(*d.full, discount, trace), advantage(d, discount, trace)),
        *zip(vtrace(log_ratios, *d.full, discount), vtrace_definition(d, log_ratios, discount, 1, 1), strict=True),
        # identities between functions
        (n_step_returns(*d.plain, discount, 1), td_target(d.rewards, d.continues, d.next_values, discount)),
        (gae(*d.full, discount, 1.0), discounted_returns(*d.plain, discount) - d.values),
        (gae(*d.full, discount, trace), lambda_returns(*d.plain, discount, trace) - d.values),
        (vtrace(0 * log_ratios, *d.full, discount, 1.0, 2.0)[0], discounted_returns(*d.plain, discount)),
        (vtrace(0 * log_ratios, *d.full, discount)[1], gae(*d.full, discount, 1.0)),
    ]
    for actual, expected in pairs:
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12 * d.scale)


def test_discount_may_be_an_array(backend, window):
    d = window(precision=backend.dtype)
    discounts = np.array([[0.5, 0.75, 1.0]])
    expected = np.concatenate([advantage(d, g, 0.5)[:, [j]] for j, g in enumerate(discounts[0])], axis=1)
    backend.check(gae(*backend.arrays(*d.full), backend.array(discounts), 0.5), expected, d.scale)


def test_under_jit_and_vmap_over_discounts(window):
    d = window()
    full = [jnp.asarray(x) for x in d.full]
    discounts = jnp.array([0.5, 0.9])
    found = jax.jit(jax.vmap(lambda g: gae(*full, g, 0.8)))(discounts)
    for row, discount in zip(found, (0.5, 0.9), strict=True):
        np.testing.assert_allclose(row, advantage(d, discount, 0.8), atol=2e-7 * d.scale)
