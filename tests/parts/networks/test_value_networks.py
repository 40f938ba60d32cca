"""Dueling streams and noisy layers, alone, together and around any body."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.algorithms.policy.ppo import PPO
from operant.errors import OperantError
from operant.parts.networks import MLP, Dueling, MinAtarCNN, Noisy
from operant.parts.networks.heads import Network
from operant.parts.networks.recipes import Linear
from operant.parts.networks.value_networks import NoisyLinear, perturbed

KEY, BODY = jax.random.key(0), MLP((5,), "tanh")
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


def network(recipe, actions=3, size=2, shape=(3,)):
    return jax.jit(lambda: Network(recipe, KEY, shape, actions * size, gain=None, num_actions=actions))()


def layers(tree):
    found = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Linear))
    return [node for node in found if isinstance(node, Linear)]


@pytest.mark.parametrize("hidden", [(), (6, 4)])
def test_streams_are_a_value_and_centred_advantages(hidden):
    net = network(Dueling(BODY, hidden))
    assert [len(stream) for stream in (net.head.value, net.head.advantage)] == [len(hidden) + 1] * 2
    h = np.asarray(net.hidden((), X)[1], np.float64)

    def stream(linear):
        x = h
        for number, layer in enumerate(linear):
            x = x @ np.asarray(layer.weight, np.float64) + np.asarray(layer.bias, np.float64)
            x = np.maximum(x, 0) if number < len(linear) - 1 else x
        return x

    value, advantage = stream(net.head.value), stream(net.head.advantage).reshape(4, 3, 2)
    expected = value[:, None] + advantage - advantage.mean(axis=1, keepdims=True)
    outputs = np.asarray(net((), X)[1]).reshape(4, 3, 2)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    # What makes the two streams identifiable: over the actions the mean is the value.
    np.testing.assert_allclose(outputs.mean(axis=1), value, atol=1e-6)


def test_noise_is_off_until_it_is_drawn_and_then_has_the_factorised_form():
    layer = NoisyLinear(Linear(KEY, 30, 20, None), 0.5)
    scale = 0.5 / np.sqrt(30)
    np.testing.assert_allclose(layer.weight_scale, scale)
    np.testing.assert_allclose(layer.bias_scale, scale)
    assert np.abs(layer.weight).max() <= 1 / np.sqrt(30)
    x = jnp.ones((2, 30))
    np.testing.assert_array_equal(layer(x), Linear.__call__(layer, x))
    drawn = perturbed(layer, jax.random.key(1))
    noise = np.asarray((drawn.weight - layer.weight) / scale)
    assert np.linalg.matrix_rank(noise, tol=1e-3) == 1  # one number for each input times one for each output
    column = np.asarray((drawn.bias - layer.bias) / scale)
    row = noise[:, 0] / column[0]
    np.testing.assert_allclose(noise, row[:, None] * column[None], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(drawn.weight_scale, layer.weight_scale)


def test_noise_is_signed_roots_of_normal_numbers():
    layer = NoisyLinear(Linear(KEY, 1, 20_000, None), 1.0)
    drawn = perturbed(layer, jax.random.key(2))
    squared = np.asarray(drawn.bias - layer.bias) * np.abs(np.asarray(drawn.bias - layer.bias))
    assert abs(squared.mean()) < 0.03 and abs(squared.std() - 1) < 0.03
    assert abs((squared**4).mean() - 3) < 0.4  # a normal's fourth moment


@pytest.mark.parametrize(
    ("recipe", "count", "shape"),
    [
        (Noisy(Dueling(BODY, (4,))), 5, (3,)),
        (Noisy(MinAtarCNN(2, (4,))), 2, (4, 4, 1)),  # convolutions have none
    ],
)
def test_every_linear_layer_is_noisy_with_noise_of_its_own(recipe, count, shape):
    net = network(recipe, shape=shape)
    found = layers(net)
    assert len(found) == count and all(isinstance(layer, NoisyLinear) for layer in found)
    silent = eqx.tree_at(
        lambda net: [x for n in layers(net) for x in (n.weight_scale, n.bias_scale)], net, replace_fn=jnp.zeros_like
    )
    x = jnp.ones((2, *shape))
    noisy = jax.jit(lambda net, key: perturbed(net, key)((), x)[1])
    np.testing.assert_allclose(noisy(silent, KEY), net((), x)[1], atol=1e-6)
    one, other, again = (np.asarray(noisy(net, jax.random.key(k))) for k in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    drawn = [layer.bias - old.bias for layer, old in zip(layers(perturbed(net, KEY)), found, strict=True)]
    assert len({float(bias[0]) for bias in drawn}) == count


def test_the_scale_of_the_noise_is_learned():
    net = network(Noisy(BODY))
    gradient = jax.grad(lambda net: jnp.sum(perturbed(net, KEY)((), X)[1] ** 2))(net)
    assert all(np.abs(layer.weight_scale).max() > 0 and np.abs(layer.weight).max() > 0 for layer in layers(gradient))


def test_without_noise_nothing_is_drawn():
    net = network(Dueling(BODY))
    for a, b in zip(jax.tree.leaves(net), jax.tree.leaves(perturbed(net, KEY)), strict=True):
        assert a is b


def test_algorithms_without_action_values_refuse_them():
    for recipe in (Dueling(BODY), Noisy(BODY)):
        with pytest.raises(OperantError, match="made for action values"):
            Network(recipe, KEY, (3,), 2, gain=1.0)
    assert PPO().network == MLP()
