import math

import numpy as np
import scipy.special
import scipy.stats

from operant.equations import (
    categorical_kl,
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    kl_k1,
    kl_k2,
    kl_k3,
    normal_kl,
    policy_gradient,
    surrogate,
)

RATIOS = np.array([0.5, 0.5, 0.9, 0.9, 1.0, 1.0, 1.1, 1.1, 2.0, 2.0])
ADVANTAGES = np.array([2.0, -2.0] * 5)
CLIP = 0.2


def test_policy_losses_are_their_definitions(backend):
    log_ratios, advantages = np.log(RATIOS).astype(backend.dtype), ADVANTAGES
    ratios = [math.exp(x) for x in log_ratios.astype(float)]
    pairs = list(zip(ratios, advantages, strict=True))
    lr, a = backend.arrays(log_ratios, advantages)
    backend.check(policy_gradient(lr, a), [-x * y for x, y in zip(log_ratios.astype(float), advantages, strict=True)])
    backend.check(surrogate(lr, a), [-r * y for r, y in pairs])
    backend.check(clipped_surrogate(lr, a, CLIP), [-min(r * y, min(max(r, 0.8), 1.2) * y) for r, y in pairs])


def test_clipping_removes_the_gain_and_keeps_the_loss(differentiable):
    # The gradient with respect to the log-ratio is -r A, and zero exactly where moving further would pay no more.
    along_ratio, along_advantage = differentiable.gradients(
        lambda lr, a: clipped_surrogate(lr, a, CLIP), np.log(RATIOS), ADVANTAGES
    )
    gone = ((RATIOS > 1 + CLIP) & (ADVANTAGES > 0)) | ((RATIOS < 1 - CLIP) & (ADVANTAGES < 0))
    assert gone.sum() == 2
    np.testing.assert_allclose(along_ratio, np.where(gone, 0.0, -RATIOS * ADVANTAGES), rtol=1e-14)
    np.testing.assert_array_equal(along_advantage, 0.0)


def test_at_the_old_policy_every_loss_has_the_policy_gradient(differentiable):
    log_probs = np.log(np.array([0.1, 0.5, 0.9]))
    advantages = np.array([1.5, -0.5, 3.0])
    old, a = differentiable.arrays(log_probs, advantages)
    for loss in (
        lambda lp: policy_gradient(lp, a),
        lambda lp: surrogate(lp - old, a),
        lambda lp: clipped_surrogate(lp - old, a, CLIP),
    ):
        np.testing.assert_array_equal(differentiable.gradients(loss, log_probs)[0], -advantages)


def test_descending_the_loss_makes_good_actions_likelier(differentiable):
    (gradient,) = differentiable.gradients(
        lambda lp: policy_gradient(lp, differentiable.array([1.0])), np.array([-1.0])
    )
    assert gradient[0] < 0


def test_clipped_value_loss_is_its_definition(backend):
    values = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    old = np.array([0.0, 0.0, 0.95, 2.0, 0.0, 0.0])
    targets = np.array([2.0, -1.0, 3.0, 0.5, 0.05, -1.0])
    expected = [
        max((v - g) ** 2, (o + min(max(v - o, -0.1), 0.1) - g) ** 2) / 2
        for v, o, g in zip(values, old, targets, strict=True)
    ]
    backend.check(clipped_value_loss(*backend.arrays(values, old, targets), 0.1), expected)


def test_clipped_value_loss_moves_only_the_new_values(differentiable):
    values, old, targets = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0]), np.array([2.0, -1.0, 1.0])
    gradients = differentiable.gradients(lambda *xs: clipped_value_loss(*xs, 0.1), values, old, targets)
    np.testing.assert_array_equal(gradients[0], [0.0, 2.0, -1.0])  # towards the target but past the clip: nothing
    np.testing.assert_array_equal(gradients[1:], np.zeros((2, 3)))


def distributions(seed, dtype="float64"):
    x = np.random.default_rng(seed).normal(size=(4, 3, 5))
    x[0, 0, 2] = -np.inf  # an action that is not allowed
    return scipy.special.log_softmax(x, axis=-1).astype(dtype).astype(float)


def test_entropy_and_categorical_kl_are_scipys(backend):
    p, q = distributions(0, backend.dtype), distributions(1, backend.dtype)
    lp, lq = backend.arrays(p, q)
    backend.check(entropy(lp), scipy.special.entr(np.exp(p)).sum(-1))
    cross = np.where(np.exp(p) > 0, np.exp(p) * (np.where(np.isinf(p), 0, p) - np.where(np.isinf(q), 0, q)), 0).sum(-1)
    backend.check(categorical_kl(lp, lq), cross)
    backend.check(categorical_kl(lp, lp), np.zeros((4, 3)))
    uniform = backend.array(np.full((2, 4), -math.log(4.0)))
    backend.check(entropy(uniform), np.full(2, math.log(4.0)))


def test_a_forbidden_action_passes_no_nan_to_the_gradient(differentiable):
    p, q = distributions(0), distributions(1)
    for function in (lambda p, q: entropy(p), categorical_kl):
        assert np.isfinite(differentiable.gradients(function, p, q)).all()


def test_what_the_new_policy_forbids_is_infinitely_far(backend):
    p, q = backend.arrays(np.log([0.5, 0.5]), np.array([0.0, -np.inf]))
    assert np.isposinf(np.asarray(categorical_kl(p, q)))
    backend.check(categorical_kl(q, p), math.log(2.0))


def test_kl_estimators_are_their_definitions(backend):
    lr = np.array([-3.0, -0.5, 0.0, 1e-3, 0.5, 2.0]).astype(backend.dtype)
    exact = lr.astype(float)
    backend.check(kl_k1(backend.array(lr)), -exact)
    backend.check(kl_k2(backend.array(lr)), exact**2 / 2)
    backend.check(kl_k3(backend.array(lr)), np.expm1(exact) - exact)


def test_k3_is_never_negative_and_keeps_its_digits_near_zero(backend):
    lr = np.concatenate([-np.logspace(-6, 1.5, 200), np.logspace(-6, 1.5, 200)]).astype(backend.dtype)
    k3 = np.asarray(kl_k3(backend.array(lr)), dtype=float)
    exact = lr.astype(float)
    assert (k3 >= -backend.eps * np.abs(exact)).all()  # one rounding of expm1
    small = exact[np.abs(exact) < 1e-2]
    series = sum(small**n / math.factorial(n) for n in range(2, 9))
    # Relative to the ratio's logarithm, not to the ratio: exp(x) - 1 - x would err by eps itself.
    assert (np.abs(k3[np.abs(exact) < 1e-2] - series) <= 8 * backend.eps * np.abs(small)).all()


def test_expected_estimators_are_the_divergence():
    # Enumerating the old policy's actions replaces sampling: the expectations hold exactly.
    old, new = distributions(2)[1], distributions(3)[1]
    divergence = categorical_kl(old, new)
    assert divergence.min() > 0.05
    for estimator in (kl_k1, kl_k3):
        np.testing.assert_allclose((np.exp(old) * estimator(new - old)).sum(-1), divergence, rtol=1e-13)
    near = scipy.special.log_softmax(old + 1e-3 * new, axis=-1)
    k2 = (np.exp(old) * kl_k2(near - old)).sum(-1)
    np.testing.assert_allclose(k2, categorical_kl(old, near), rtol=1e-2)  # equal up to the relative size of the step


def test_normal_kl_is_the_integral(backend):
    mean, log_std, other_mean, other_log_std = np.array([0.5, 0.0]), np.array([-0.5, 0.25]), np.zeros(2), np.ones(2)
    expected = []
    for m, s, n, z in zip(mean, np.exp(log_std), other_mean, np.exp(other_log_std), strict=True):
        x, dx = np.linspace(m - 12 * s, m + 12 * s, 4001, retstep=True)
        p, q = scipy.stats.norm(m, s), scipy.stats.norm(n, z)
        expected.append((p.pdf(x) * (p.logpdf(x) - q.logpdf(x))).sum() * dx)  # spectrally accurate: the ends vanish
    backend.check(normal_kl(*backend.arrays(mean, log_std, other_mean, other_log_std)), expected)


def test_normal_kl_of_near_neighbours_is_half_the_fisher_distance(backend):
    zero, step = np.zeros(1), np.array([2.0**-9])
    x, h = backend.arrays(zero, step)
    backend.check(normal_kl(x, x, h, x), 0.5 * step**2)
    found = float(np.asarray(normal_kl(x, x, x, h))[0])
    # log σ alone: h² - (2/3)h³ + ... and one rounding of expm1(2h)
    assert abs(found - step[0] ** 2 + 2 / 3 * step[0] ** 3) <= step[0] ** 4 + 2 * backend.eps * step[0]
