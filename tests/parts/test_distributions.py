"""Distributions: scipy and torch as oracles, integrals, sampling frequencies, and gradients at the extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

from operant.parts.distributions import Categorical, MultiCategorical, Normal, TanhNormal

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 5)).astype(np.float32) * 3
OTHER = RNG.normal(size=(3, 4, 5)).astype(np.float32)
MEAN, MEAN2 = RNG.normal(size=(2, 6, 3)).astype(np.float32)
LOG_STD, LOG_STD2 = RNG.uniform(-2, 1, size=(2, 6, 3)).astype(np.float32)
LOWEST = float(np.finfo(np.float32).min)
KEY = jax.random.key(42)


def double(array):
    return torch.tensor(np.asarray(array, np.float64))


def close(ours, truth, **tolerance):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(truth), **{"rtol": 2e-5, "atol": 2e-6, **tolerance})


def all_finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def test_categorical_equals_torch():
    ours, oracle = Categorical(jnp.asarray(LOGITS)), torch.distributions.Categorical(logits=double(LOGITS))
    other = torch.distributions.Categorical(logits=double(OTHER))
    actions = RNG.integers(0, 5, size=(3, 4))
    close(ours.probs, oracle.probs)
    close(ours.log_prob(jnp.asarray(actions)), oracle.log_prob(torch.tensor(actions)))
    close(ours.entropy(), oracle.entropy())
    close(ours.kl(Categorical(jnp.asarray(OTHER))), torch.distributions.kl_divergence(oracle, other))
    np.testing.assert_array_equal(ours.mode(), LOGITS.argmax(-1))
    close(ours.kl(ours), np.zeros((3, 4)), rtol=0, atol=0)


def test_categorical_samples_have_its_frequencies():
    probs = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    logits = jnp.log(jnp.broadcast_to(jnp.asarray(probs, jnp.float32), (20_000, 5)))
    actions, log_probs = Categorical(logits).sample_and_log_prob(KEY)
    assert actions.dtype == jnp.int32 and Categorical(logits).mode().dtype == jnp.int32
    counts = np.bincount(actions, minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[probs > 0], 20_000 * probs[probs > 0]).pvalue > 1e-3
    close(log_probs, np.log(probs[np.asarray(actions)]))


@pytest.mark.parametrize("masked", [-np.inf, LOWEST])
def test_masked_actions_are_as_if_absent(masked):
    legal = np.array([True, False, True, True, False])
    logits = jnp.where(jnp.asarray(legal)[None, None], jnp.asarray(LOGITS), masked)
    other = jnp.where(jnp.asarray(legal)[None, None], jnp.asarray(OTHER), masked)
    smaller, smaller_other = (Categorical(jnp.asarray(x[..., legal])) for x in (LOGITS, OTHER))
    ours = Categorical(logits)
    assert (ours.probs[..., ~legal] == 0).all()
    close(ours.probs[..., legal], smaller.probs)
    close(ours.entropy(), smaller.entropy())
    close(ours.kl(Categorical(other)), smaller.kl(smaller_other))
    close(ours.log_prob(jnp.full((3, 4), 2)), smaller.log_prob(jnp.full((3, 4), 1)))
    assert (ours.log_prob(jnp.full((3, 4), 1)) < -1e38).all()
    assert bool(jnp.asarray(legal)[ours.sample(KEY)].all()) and bool(jnp.asarray(legal)[ours.mode()].all())

    def everything(logits, other):
        ours = Categorical(logits)
        kl = ours.kl(Categorical(other))
        return (ours.log_prob(jnp.full((3, 4), 2)) + ours.entropy() + kl).sum()

    gradients = jax.grad(everything, argnums=(0, 1))(logits, other)
    assert all_finite(gradients)
    assert all((g[..., ~legal] == 0).all() and (g[..., legal] != 0).all() for g in gradients)


@pytest.mark.parametrize(
    "row", [[-np.inf] * 3, [0.0, -np.inf, -np.inf], [LOWEST] * 3, [1e4, -1e4, 0.0], [1e30, 0.0, -1e30]]
)
def test_categorical_extremes_stay_finite(row):
    def everything(logits):
        ours = Categorical(logits)
        return ours.entropy() + ours.log_prob(ours.mode()) + ours.kl(ours)

    value, gradient = jax.value_and_grad(everything)(jnp.asarray(row, jnp.float32))
    assert all_finite((value, gradient, Categorical(jnp.asarray(row, jnp.float32)).entropy()))


def test_multi_categorical_is_the_product_of_its_choices():
    parts = (LOGITS, OTHER[..., :2], LOGITS[..., 1:4])
    others = (OTHER, LOGITS[..., :2], OTHER[..., 1:4])
    ours = MultiCategorical(tuple(map(jnp.asarray, parts)))
    oracles = [torch.distributions.Categorical(logits=double(x)) for x in parts]
    against = [torch.distributions.Categorical(logits=double(x)) for x in others]
    actions = np.stack([RNG.integers(0, x.shape[-1], size=(3, 4)) for x in parts], axis=-1)
    close(
        ours.log_prob(jnp.asarray(actions)),
        sum(d.log_prob(torch.tensor(actions[..., i])) for i, d in enumerate(oracles)),
    )
    close(ours.entropy(), sum(d.entropy() for d in oracles))
    kl = ours.kl(MultiCategorical(tuple(map(jnp.asarray, others))))
    close(kl, sum(torch.distributions.kl_divergence(p, q) for p, q in zip(oracles, against, strict=True)))
    np.testing.assert_array_equal(ours.mode(), np.stack([x.argmax(-1) for x in parts], axis=-1))


def test_multi_categorical_choices_are_sampled_independently():
    probs = (np.array([0.7, 0.3]), np.array([0.2, 0.5, 0.3]))
    ours = MultiCategorical(
        tuple(jnp.log(jnp.broadcast_to(jnp.asarray(p, jnp.float32), (20_000, len(p)))) for p in probs)
    )
    actions, log_probs = ours.sample_and_log_prob(KEY)
    assert actions.shape == (20_000, 2) and actions.dtype == jnp.int32
    joint = np.bincount(np.asarray(actions) @ [3, 1], minlength=6)
    assert stats.chisquare(joint, 20_000 * np.outer(*probs).ravel()).pvalue > 1e-3
    close(log_probs, np.log(probs[0][actions[:, 0]] * probs[1][actions[:, 1]]))


@pytest.mark.parametrize("shared", [False, True])
def test_normal_equals_scipy_and_torch(shared):
    log_std = LOG_STD[0] if shared else LOG_STD
    ours = Normal(jnp.asarray(MEAN), jnp.asarray(log_std))
    std = np.broadcast_to(np.exp(np.float64(log_std)), MEAN.shape)
    actions = RNG.normal(size=MEAN.shape).astype(np.float32) * 3
    close(ours.log_prob(jnp.asarray(actions)), stats.norm(np.float64(MEAN), std).logpdf(actions).sum(-1))
    close(ours.entropy(), stats.norm(0, std).entropy().sum(-1))
    p = torch.distributions.Normal(double(MEAN), double(std))
    q = torch.distributions.Normal(double(MEAN2), double(np.exp(np.float64(LOG_STD2))))
    other = Normal(jnp.asarray(MEAN2), jnp.asarray(LOG_STD2))
    close(ours.kl(other), torch.distributions.kl_divergence(p, q).sum(-1))
    close(ours.kl(ours), np.zeros(6), rtol=0, atol=0)
    np.testing.assert_array_equal(ours.mode(), MEAN)


def test_kl_of_nearly_equal_normals_keeps_its_digits():
    # A trust region asks for differences of 1e-3 and less; log s2/s1 + (...)/2 - 1/2 would cancel there.
    p, q = Normal(jnp.zeros((1, 1)), jnp.zeros(1)), Normal(jnp.full((1, 1), 1e-3), jnp.full(1, 1e-3))
    d, mean = -np.float64(np.float32(1e-3)), np.float64(np.float32(1e-3))
    truth = 0.5 * (np.expm1(2 * d) - 2 * d + (mean * np.exp(d)) ** 2)
    close(p.kl(q)[0], truth, rtol=1e-4, atol=0)


@pytest.mark.parametrize("squash", [False, True])
def test_continuous_samples_follow_the_density_and_carry_gradients(squash):
    mean, log_std = jnp.full((20_000, 2), 0.4), jnp.log(jnp.array([0.5, 1.5]))
    ours = (TanhNormal if squash else Normal)(mean, log_std)
    actions, log_probs = ours.sample_and_log_prob(KEY)
    np.testing.assert_array_equal(actions, ours.sample(KEY))
    before = np.arctanh(np.float64(actions)) if squash else np.float64(actions)
    for i, std in enumerate([0.5, 1.5]):
        assert stats.kstest(before[:, i], stats.norm(0.4, std).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(before.T)[0, 1]) < 4 / np.sqrt(20_000)
    truth = stats.norm(0.4, [0.5, 1.5]).logpdf(before) - (np.log1p(-(np.tanh(before) ** 2)) if squash else 0)
    inner = (np.abs(actions) < 0.99).all(-1) if squash else slice(None)  # beyond, a float32 action loses digits
    close(log_probs[inner], truth.sum(-1)[inner], rtol=1e-4, atol=1e-4)
    slope = jax.grad(lambda shift: type(ours)(mean + shift, log_std).sample(KEY).sum())(0.0)
    close(slope, (1 - np.float64(actions) ** 2).sum() if squash else 40_000, rtol=1e-4)


def test_tanh_density_integrates_to_one_and_is_the_transformed_normal():
    edges = np.tanh(np.linspace(-7.5, 7.5, 20_001))
    middles = ((edges[1:] + edges[:-1]) / 2).astype(np.float32)
    for mean, log_std in [(0.0, 0.0), (0.7, -1.0), (-0.5, 0.3)]:
        ours = TanhNormal(jnp.full((len(middles), 1), mean), jnp.full(1, log_std))
        density = np.exp(np.float64(ours.log_prob(jnp.asarray(middles)[:, None])))
        assert abs((density * np.diff(edges)).sum() - 1) < 2e-4
    mean, std = double(MEAN), double(np.exp(LOG_STD))
    transform = torch.distributions.transforms.TanhTransform()
    oracle = torch.distributions.TransformedDistribution(torch.distributions.Normal(mean, std), [transform])
    actions = RNG.uniform(-0.95, 0.95, size=MEAN.shape).astype(np.float32)
    ours = TanhNormal(jnp.asarray(MEAN), jnp.asarray(LOG_STD))
    close(ours.log_prob(jnp.asarray(actions)), oracle.log_prob(double(actions)).sum(-1), rtol=1e-4, atol=1e-5)
    close(ours.mode(), np.tanh(np.float64(MEAN)))


def test_tanh_log_prob_of_a_far_sample_is_exact_where_that_of_the_action_cannot_be():
    mean, log_std = np.array([[-40.0], [-3.0], [2.0], [12.0], [60.0]]), np.array([-1.0])
    ours = TanhNormal(jnp.asarray(mean, jnp.float32), jnp.asarray(log_std, jnp.float32))
    action, log_prob = ours.sample_and_log_prob(KEY)
    before = np.float64(ours.base.sample(KEY))
    # In float64, log(1 - tanh(u)^2) = -2 log cosh(u) without cancellation.
    log_cosh = np.abs(before) + np.log1p(np.exp(-2 * np.abs(before))) - np.log(2)
    truth = stats.norm(mean, np.exp(log_std)).logpdf(before) + 2 * log_cosh
    close(log_prob, truth.sum(-1), rtol=1e-5, atol=1e-4)
    assert float(action[4, 0]) == 1.0


@pytest.mark.parametrize("log_std", [-20.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 30.0, -30.0])
def test_tanh_values_and_gradients_are_finite_at_the_border(mean, log_std):
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    actions = jnp.array([[1.0], [-1.0], [below], [-below], [0.0]])

    def stored(parameters):
        return TanhNormal(jnp.full((5, 1), parameters[0]), jnp.full(1, parameters[1])).log_prob(actions)

    def sampled(parameters):
        action, log_prob = TanhNormal(jnp.full((5, 1), parameters[0]), jnp.full(1, parameters[1])).sample_and_log_prob(
            KEY
        )
        return action.sum() + log_prob.sum()

    parameters = jnp.array([mean, log_std])
    assert all_finite((stored(parameters), jax.jacobian(stored)(parameters)))
    assert all_finite(jax.value_and_grad(sampled)(parameters))
    close(stored(parameters)[:2], stored(parameters)[2:4], rtol=0)


def test_tanh_kl_is_that_before_tanh():
    ours, other = (
        TanhNormal(jnp.asarray(MEAN), jnp.asarray(LOG_STD)),
        TanhNormal(jnp.asarray(MEAN2), jnp.asarray(LOG_STD2)),
    )
    actions, log_probs = TanhNormal(jnp.zeros((50_000, 1)), jnp.zeros(1)).sample_and_log_prob(KEY)
    narrow = TanhNormal(jnp.full((50_000, 1), 0.2), jnp.full(1, 0.1))
    differences = np.float64(log_probs - narrow.log_prob(actions))
    closed = float(
        TanhNormal(jnp.zeros((1, 1)), jnp.zeros(1)).kl(TanhNormal(jnp.full((1, 1), 0.2), jnp.full(1, 0.1)))[0]
    )
    assert abs(differences.mean() - closed) < 4 * differences.std() / np.sqrt(50_000)
    close(ours.kl(other), ours.base.kl(other.base), rtol=0, atol=0)


def test_distributions_are_pytrees_under_jit_and_vmap():
    ours = Normal(jnp.asarray(MEAN), jnp.asarray(LOG_STD))
    close(jax.jit(jax.vmap(lambda d: d.entropy()))(ours), ours.entropy())
    both = MultiCategorical((jnp.asarray(LOGITS), jnp.asarray(OTHER)))
    close(jax.jit(jax.vmap(lambda d: d.entropy()))(both), both.entropy())
