import numpy as np

from operant.equations import explained_variance, masked_mean, whiten

RNG = np.random.default_rng(0)
X = RNG.normal(2.0, 3.0, size=(6, 4))
MASK = RNG.uniform(size=(6, 4)) < 0.6


def test_masked_mean_counts_only_what_is_true(backend):
    x = np.where(MASK, X.astype(backend.dtype).astype(float), np.nan)
    backend.check(masked_mean(*backend.arrays(x, MASK)), np.nanmean(x), 10.0)
    backend.check(masked_mean(*backend.arrays(x, np.zeros_like(MASK))), 0.0)


def test_masked_mean_passes_no_gradient_to_what_is_false(differentiable):
    mask = differentiable.array(MASK)
    x = np.where(MASK, X, np.inf)
    np.testing.assert_allclose(
        differentiable.gradients(lambda x: masked_mean(x, mask), x)[0], MASK / MASK.sum(), rtol=1e-15
    )


def test_whiten_has_mean_zero_and_variance_one(backend):
    x = X.astype(backend.dtype).astype(float)
    chosen = x[MASK]
    expected = np.where(MASK, (x - chosen.mean()) / np.sqrt(chosen.var() + 1e-8), 0.0)
    backend.check(whiten(*backend.arrays(x, MASK)), expected, 2.0)
    backend.check(whiten(backend.array(x)), (x - x.mean()) / np.sqrt(x.var() + 1e-8), 2.0)


def test_whitening_a_constant_gives_nothing(backend):
    x = np.full((7, 3), 0.1)
    assert np.abs(np.asarray(whiten(backend.array(x)))).max() <= backend.eps / 1e-4  # one rounding over √1e-8


def test_explained_variance_is_its_definition(backend):
    targets = X.astype(backend.dtype).astype(float)
    values = (0.5 * X + RNG.normal(size=X.shape)).astype(backend.dtype).astype(float)
    expected = 1.0 - np.var(targets - values) / np.var(targets)
    t = backend.array(targets)
    backend.check(explained_variance(backend.array(values), t), expected, 10.0)
    backend.check(explained_variance(t, t), 1.0)
    backend.check(explained_variance(backend.array(np.zeros_like(X)), t), 0.0)
    flat = backend.array(np.ones_like(X))
    backend.check(explained_variance(t, flat), 0.0)
