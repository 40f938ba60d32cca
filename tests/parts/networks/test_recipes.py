"""Networks and their initialisation: shapes, distributions, and convolution and GRU against their definitions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.errors import OperantError
from operant.parts.networks import GRU, MLP, MinAtarCNN, NatureCNN
from operant.parts.networks.layers import Convolution, Linear
from operant.parts.networks.orthogonal import orthogonal

KEY = jax.random.key(0)
SHAPES = [(1, 1), (5, 1), (1, 7), (8, 8), (64, 4), (4, 64), (120, 84)]


def deviation(matrix):
    """The largest entry of Q'Q - I, over the shorter side."""
    q = np.asarray(matrix, np.float64)
    q = q if q.shape[0] >= q.shape[1] else q.T
    return np.abs(q.T @ q - np.eye(q.shape[1])).max()


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_to_float32_accuracy(shape):
    matrix = orthogonal(KEY, shape)
    assert matrix.shape == shape and matrix.dtype == jnp.float32
    # Rounding of a product of `longer side` terms.
    assert deviation(matrix) < 5e-6
    np.testing.assert_allclose(orthogonal(KEY, shape, 0.01), 0.01 * matrix, rtol=1e-6)


def test_ten_seeds_of_several_layers_in_one_program():
    # With QR factorisations this program could hang on CPU for ever.
    @jax.jit
    def layers(key):
        keys = jax.random.split(key, 6)
        shapes = [(4, 64), (64, 64), (64, 2)] * 2
        return [orthogonal(k, shape) for k, shape in zip(keys, shapes, strict=True)]

    seeds = jax.random.split(KEY, 10)
    batch = jax.vmap(layers)(seeds)
    assert all(leaf.shape[0] == 10 for leaf in batch)
    assert max(deviation(matrix) for leaf in batch for matrix in leaf) < 5e-6
    # The polar factor of a badly conditioned Gaussian amplifies rounding; two seeds differ by ~1.
    np.testing.assert_allclose(batch[1][3], layers(seeds[3])[1], atol=2e-3)
    assert np.abs(batch[1][3] - batch[1][4]).max() > 0.1


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
def test_orthogonal_is_uniformly_distributed(shape):
    matrices = np.asarray(jax.vmap(lambda k: orthogonal(k, shape))(jax.random.split(KEY, 4000)), np.float64)
    matrices = matrices if shape[0] >= shape[1] else matrices.transpose(0, 2, 1)
    column, size = matrices[:, :, 0], max(shape)
    # A squared coordinate of a uniform point on the sphere in d dimensions is Beta(1/2, (d - 1)/2), its sign is free.
    for coordinate in column.T:
        assert stats.kstest(coordinate**2, stats.beta(0.5, (size - 1) / 2).cdf).pvalue > 1e-4
        assert stats.binomtest(int((coordinate > 0).sum()), len(coordinate)).pvalue > 1e-4
    # E[x x'] = I / d; an entry's standard error is below 1 / (d sqrt n).
    np.testing.assert_allclose(column.T @ column / 4000, np.eye(size) / size, atol=5 / (size * np.sqrt(4000)))
    # Both signs of the determinant: not rotations alone.
    if shape == (3, 3):
        assert stats.binomtest(int((np.linalg.det(matrices) > 0).sum()), 4000).pvalue > 1e-4


def test_orthogonal_and_uniform_layers():
    layer = Linear(KEY, 50, 20, gain=2.0)
    assert deviation(layer.weight / 2.0) < 5e-6 and not np.any(layer.bias)
    wide = Linear(KEY, 50, 400, gain=None)
    bound = 1 / np.sqrt(50)
    for values in (np.asarray(wide.weight), np.asarray(wide.bias)):
        assert np.abs(values).max() <= bound
        assert stats.kstest(values.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-4
    x = jax.random.normal(KEY, (2, 3, 50))
    np.testing.assert_allclose(wide(x), np.asarray(x) @ np.asarray(wide.weight) + wide.bias[None, None], atol=1e-5)


def test_gains_of_recipes():
    body = MLP((16, 8), initialisation="orthogonal")(KEY, (5,))
    assert [deviation(layer.weight / np.sqrt(2)) < 5e-6 for layer in body.layers] == [True, True]
    body = MLP((16, 8), initialisation="uniform")(KEY, (5,))
    for layer, size in zip(body.layers, (5, 16), strict=True):
        assert 0.8 < float(jnp.abs(layer.weight).max()) * np.sqrt(size) <= 1.0 + 1e-6
    assert all(np.any(layer.bias) for layer in body.layers)
    convolution = MinAtarCNN()(KEY, (10, 10, 4)).convolutions[0]
    assert deviation(convolution.weight.reshape(36, 16) / np.sqrt(2)) < 5e-6


@pytest.mark.parametrize("name", ["tanh", "relu", "elu", "gelu", "silu"])
def test_mlp_is_its_formula(name):
    body = MLP((6, 3), name)(KEY, (2, 2, 1))
    x = jax.random.normal(KEY, (2, 2, 1))
    functions = {
        "tanh": np.tanh,
        "relu": lambda v: np.maximum(v, 0),
        "elu": lambda v: np.where(v > 0, v, np.expm1(v)),
        "gelu": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3))),
        "silu": lambda v: v / (1 + np.exp(-v)),
    }
    expected = np.asarray(x, np.float64).reshape(-1)
    for layer in body.layers:
        expected = functions[name](expected @ np.asarray(layer.weight) + np.asarray(layer.bias))
    np.testing.assert_allclose(body(x), expected, atol=1e-6)


@pytest.mark.parametrize("kernel, stride, side", [(3, 1, 6), (4, 2, 9), (8, 4, 21), (1, 1, 3), (5, 2, 10)])
def test_convolution_is_its_definition(kernel, stride, side):
    layer = Convolution(KEY, 3, 5, kernel, stride, gain=None)
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.arange(5.0))
    image = np.asarray(jax.random.normal(KEY, (side, side + 1, 3)), np.float64)
    rows, columns = (side - kernel) // stride + 1, (side + 1 - kernel) // stride + 1
    expected = np.zeros((rows, columns, 5))
    for i in range(rows):
        for j in range(columns):
            patch = image[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            expected[i, j] = np.einsum("hwc,hwcd->d", patch, np.asarray(layer.weight, np.float64)) + np.arange(5)
    np.testing.assert_allclose(layer(jnp.float32(image)), expected, atol=1e-5)


def test_shapes_of_the_recipes():
    def traced(recipe, shape):
        return jax.eval_shape(lambda k, x: recipe(k, shape)(x), KEY, jax.ShapeDtypeStruct(shape, jnp.float32))

    assert traced(MLP(), (3,)).shape == (64,)
    assert traced(MLP(()), (3, 2, 1)).shape == (6,)
    assert traced(MinAtarCNN(hidden=(7,)), (10, 10, 4)).shape == (7,)
    assert traced(NatureCNN(), (84, 84, 4)).shape == (512,)
    body = jax.eval_shape(lambda k: NatureCNN()(k, (84, 84, 4)), KEY)
    assert [c.weight.shape for c in body.convolutions] == [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64)]
    assert body.layers[0].weight.shape == (7 * 7 * 64, 512)
    smallest = jax.eval_shape(lambda k: NatureCNN()(k, (36, 36, 1)), KEY)
    assert smallest.layers[0].weight.shape == (64, 512)


@pytest.mark.parametrize("hidden, width", [((6,), 6), ((), 3)])
def test_gru_is_equinox_own_behind_an_mlp(hidden, width):
    recurrent = GRU(size=4, hidden=hidden)(KEY, (3,))
    cell = eqx.nn.GRUCell(width, 4, key=jax.random.split(KEY)[1])
    body = MLP(hidden)(jax.random.split(KEY)[0], (3,))
    memory = expected = recurrent.start()
    np.testing.assert_array_equal(memory, np.zeros(4))
    for x in jax.random.normal(KEY, (5, 3)):
        memory, out = recurrent(memory, x)
        expected = cell(body(x), expected)
        np.testing.assert_allclose(out, expected, atol=1e-6)
        np.testing.assert_array_equal(out, memory)
    assert np.abs(out).max() > 0.01


@pytest.mark.parametrize(
    "recipe, shape, words",
    [
        (NatureCNN(), (35, 84, 4), "too small"),
        (NatureCNN(), (3, 3, 1), "too small"),
        (MinAtarCNN(), (2, 10, 4), "too small"),
        (MinAtarCNN(channels=0), (10, 10, 4), "at least one channel"),
        (MinAtarCNN(), (10,), "needs image observations"),
        (MLP(activation="tahn"), (3,), "unknown activation 'tahn'"),
        (MLP((4, 0)), (3,), "at least one unit"),
        (MLP(initialisation="zeros"), (3,), "unknown initialisation"),
        (GRU(hidden=(0,)), (3,), "at least one unit"),
        (GRU(size=0), (3,), "at least 1"),
    ],
)
def test_impossible_recipes_are_refused(recipe, shape, words):
    with pytest.raises(OperantError, match=words):
        recipe(KEY, shape)


def test_recipes_are_values():
    assert MLP((4,)) == MLP((4,)) and hash(GRU(3)) == hash(GRU(3)) and MLP((4,)) != MLP((5,))
