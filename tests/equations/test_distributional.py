import numpy as np
import pytest

from operant.equations import categorical_projection, quantile_huber

SUPPORT = np.linspace(-2.0, 3.0, 11)  # half a unit apart


def projected(probabilities, atoms, support):
    """Algorithm 1 of Bellemare et al. 2017 for one distribution, in float64, with both indices equal on a point."""
    low, high, step = support[0], support[-1], support[1] - support[0]
    mass = np.zeros(len(support))
    for p, atom in zip(probabilities, atoms, strict=True):
        place = (min(max(atom, low), high) - low) / step
        below, above = int(np.floor(place)), int(np.ceil(place))
        if below == above:
            mass[below] += p
        else:
            mass[below] += p * (above - place)
            mass[above] += p * (place - below)
    return mass


def test_the_projection_is_the_algorithm(backend):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(11), size=(2, 3)).astype(backend.dtype).astype(float)
    atoms = (rng.normal(size=(2, 3, 1)) + 0.9 * SUPPORT).astype(backend.dtype).astype(float)
    assert (atoms < -2).any() and (atoms > 3).any()
    expected = [[projected(p[i, j], atoms[i, j], SUPPORT) for j in range(3)] for i in range(2)]
    backend.check(categorical_projection(*backend.arrays(p, atoms, SUPPORT)), np.array(expected), scale=10)


@pytest.mark.parametrize("reward", [0.0, 0.5, -2.0, 3.0, 100.0, -100.0])
def test_an_atom_on_a_point_keeps_its_mass(backend, reward):
    p, count = np.full(11, 1 / 11), np.arange(11)
    moved = np.asarray(categorical_projection(*backend.arrays(p, reward + SUPPORT, SUPPORT)))
    where = np.clip(count + round(2 * reward), 0, 10)  # every atom falls on a point, or beyond an end
    np.testing.assert_allclose(moved, np.bincount(where, minlength=11) / 11, atol=64 * backend.eps)
    np.testing.assert_allclose(moved.sum(), 1.0, atol=64 * backend.eps)


def test_the_projection_keeps_means_inside_the_support(backend):
    rng = np.random.default_rng(1)
    p, atoms = rng.dirichlet(np.ones(7), size=5), rng.uniform(-2, 3, (5, 7))
    moved = np.asarray(categorical_projection(*backend.arrays(p, atoms, SUPPORT)))
    np.testing.assert_allclose(moved @ SUPPORT, (p * atoms).sum(-1), atol=100 * backend.eps)


def test_on_two_atoms_a_distribution_is_its_mean(backend):
    """C51 with atoms at the two ends is Q-learning: the mass at the upper one says where the mean lies."""
    p, atoms, ends = np.array([0.25, 0.5, 0.25]), np.array([0.5, 1.0, 2.5]), np.array([0.0, 4.0])
    moved = categorical_projection(*backend.arrays(p, atoms, ends))
    backend.check(moved, [1 - 1.25 / 4, 1.25 / 4])


@pytest.mark.parametrize("delta", [0.0, 0.5, 1.0])
def test_the_loss_of_quantiles_is_the_definition(backend, delta):
    errors = np.array([-3.0, -1.0, -0.5, -0.25, 0.0, 0.125, 0.75, 7.0])
    fractions = np.linspace(0.05, 0.95, 8).astype(backend.dtype).astype(float)

    def huber(e):
        return 0.5 * e * e / delta if abs(e) <= delta and delta else abs(e) - 0.5 * delta

    expected = [abs(tau - (e < 0)) * huber(e) for e, tau in zip(errors, fractions, strict=True)]
    backend.check(quantile_huber(*backend.arrays(errors, fractions), delta), expected)


@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_gradients_of_quantiles_are_finite_and_have_the_asymmetry(differentiable, delta):
    errors, fractions = np.array([-3.0, 2.0, 0.0]), np.array([0.25, 0.25, 0.25])
    gradient = differentiable.gradients(lambda e: quantile_huber(e, fractions_like(e, fractions), delta), errors)[0]
    np.testing.assert_allclose(gradient[:2], [-0.75, 0.25])
    assert np.isfinite(gradient).all()


def fractions_like(errors, fractions):
    import torch

    return torch.tensor(fractions) if isinstance(errors, torch.Tensor) else fractions + 0 * errors
