"""Heads: unrolling equals stepping, users' own modules, and the distributions of actors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from operant.errors import OperantError
from operant.parts.distributions import Categorical, MultiCategorical, Normal
from operant.parts.networks import GRU, MLP
from operant.parts.networks.heads import Actor, Network, flat_actions, num_outputs, restart, shaped_actions

KEY = jax.random.key(1)
T, B, F = 6, 3, 2
FEATURES = jax.random.normal(KEY, (T, B, F))
LAST = jnp.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)


def test_unroll_equals_stepping_with_manual_restarts():
    network = Network(GRU(4, (3,)), KEY, (F,), 2, gain=1.0)
    assert network.recurrent
    start = jax.random.normal(KEY, (B, 4))  # not fresh: a window in the middle of episodes
    end, outputs, after = network.unroll(start, FEATURES, LAST)
    memory = start
    for t in range(T):
        memory, expected = network(memory, FEATURES[t])
        np.testing.assert_allclose(outputs[t], expected, atol=1e-6)
        np.testing.assert_allclose(after[t], memory, atol=1e-6)
        memory = memory.at[np.flatnonzero(LAST[t])].set(0.0)
    np.testing.assert_allclose(end, memory, atol=1e-6)
    assert np.all(end[1] == 0) and np.any(end[0] != 0)
    # `after` is one more step from the memories before any restart: what a truncated episode bootstraps from.
    following = jax.random.normal(jax.random.key(2), (T, B, F))
    expected = jnp.stack([network(after[t], following[t])[1] for t in range(T)])
    np.testing.assert_allclose(network.after(after, following), expected, atol=1e-6)


def test_feed_forward_unroll_is_the_call():
    network = Network(MLP((5,)), KEY, (F,), 2, gain=1.0)
    assert not network.recurrent and network.start(B) == ()
    end, outputs, after = network.unroll((), FEATURES, LAST)
    assert end == after == ()
    expected = jnp.stack([network((), FEATURES[t])[1] for t in range(T)])
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    np.testing.assert_allclose(network.after((), FEATURES), expected, atol=1e-6)
    x = np.asarray(FEATURES[0], np.float64)
    layer, head = jax.tree.map(np.asarray, (network.body.layers[0], network.head))
    np.testing.assert_allclose(expected[0], np.tanh(x @ layer.weight + layer.bias) @ head.weight + head.bias, atol=1e-6)


class Own(eqx.Module):
    """A user's own body: other layers, an activation function, a number, all as fields."""

    inner: eqx.nn.MLP
    norm: eqx.nn.LayerNorm
    activation: object
    scale: float

    def __init__(self, key, shape):
        self.inner = eqx.nn.MLP(shape[0], 5, 8, 1, activation=jax.nn.softplus, key=key)
        self.norm = eqx.nn.LayerNorm(5)
        self.activation = jnp.tanh
        self.scale = 2.0

    def __call__(self, x):
        return self.scale * self.activation(self.norm(self.inner(x)))


class Remembering(eqx.Module):
    """A user's own memory, a dictionary of two."""

    layer: eqx.nn.Linear

    def __init__(self, key, shape):
        self.layer = eqx.nn.Linear(shape[0], 3, key=key)

    def start(self):
        return {"sum": jnp.zeros(3), "count": jnp.float32(0)}

    def __call__(self, memory, x):
        memory = {"sum": memory["sum"] + self.layer(x), "count": memory["count"] + 1}
        return memory, memory["sum"] / memory["count"]


def test_a_users_own_module_is_a_recipe():
    network = Network(Own, KEY, (F,), 2, gain=1.0)
    body = Own(jax.random.split(KEY)[0], (F,))
    np.testing.assert_allclose(network((), FEATURES[0])[1], network.head(jax.vmap(body)(FEATURES[0])), atol=1e-6)
    assert all(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(network))
    traced = []

    @jax.jit
    def loss(network):
        traced.append(1)
        return jnp.sum(network((), FEATURES[0])[1] ** 2)

    gradient = jax.grad(loss)(network)
    assert jax.tree.structure(gradient) == jax.tree.structure(network)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    # Two networks of one recipe are one program.
    loss(network), loss(Network(Own, jax.random.key(9), (F,), 2, gain=1.0))
    assert len(traced) == 1
    stacked = jax.vmap(lambda k: Network(Own, k, (F,), 2, 1.0))(jax.random.split(KEY, 3))
    outputs = jax.vmap(lambda n: n((), FEATURES[0])[1])(stacked)
    assert outputs.shape == (3, B, 2) and np.std(outputs[:, 0, 0]) > 0


def test_a_users_own_memory_may_be_any_tree():
    network = Network(Remembering, KEY, (F,), 2, gain=1.0)
    _, outputs, after = network.unroll(network.start(B), FEATURES, LAST)
    steps = np.asarray(after["count"])
    np.testing.assert_array_equal(steps[:, 0], [1, 2, 1, 2, 1, 2])
    np.testing.assert_array_equal(steps[:, 1], range(1, 7))
    means = np.asarray(jax.vmap(jax.vmap(network.body.layer))(FEATURES))[:, 1].cumsum(0) / np.arange(1, 7)[:, None]
    np.testing.assert_allclose(outputs[:, 1], network.head(jnp.float32(means)), atol=1e-5)


def test_a_body_that_keeps_axes_is_refused():
    with pytest.raises(OperantError, match="one vector"):
        Network(lambda key, shape: lambda x: x, KEY, (2, 2, 1), 2, 1.0)


def test_restart_takes_whole_rows_of_every_leaf():
    memory = {"a": jnp.ones((3, 2)), "b": jnp.ones(3)}
    found = restart(memory, jax.tree.map(jnp.zeros_like, memory), jnp.array([True, False, True]))
    np.testing.assert_array_equal(found["a"], [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(found["b"], [0, 1, 0])


def test_actor_distributions():
    space = Discrete(3, start=2)
    outputs = jnp.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    actor = Actor(MLP((4,)), KEY, (F,), space, 0.01)
    assert actor.log_std is None and actor.network.head.weight.shape == (4, 3)
    found = actor.distribution(outputs, space)
    assert isinstance(found, Categorical)
    expected = jax.nn.log_softmax(outputs)[jnp.arange(2), jnp.array([2, 0])]
    np.testing.assert_allclose(found.log_prob(jnp.array([2, 0])), expected, atol=1e-6)

    space = MultiDiscrete([2, 3, 1])
    actor = Actor(MLP((4,)), KEY, (F,), space, 0.01)
    outputs = jax.random.normal(KEY, (5, 6))
    found = actor.distribution(outputs, space)
    assert isinstance(found, MultiCategorical)
    parts = [jax.nn.log_softmax(outputs[:, a:b])[:, i] for a, b, i in ((0, 2, 1), (2, 5, 2), (5, 6, 0))]
    np.testing.assert_allclose(found.log_prob(jnp.tile(jnp.array([1, 2, 0]), (5, 1))), sum(parts), atol=1e-6)

    space = Box(-1.0, 1.0, (2, 2))
    actor = Actor(MLP((4,)), KEY, (F,), space, 0.01)
    np.testing.assert_array_equal(actor.log_std, np.zeros(4))
    actor = eqx.tree_at(lambda a: a.log_std, actor, jnp.log(jnp.arange(1.0, 5.0)))
    outputs = jnp.zeros((7, 3, 4))
    found = actor.distribution(outputs, space)
    assert isinstance(found, Normal)
    expected = -0.5 * 4 * np.log(2 * np.pi) - np.log(24.0)
    np.testing.assert_allclose(found.log_prob(outputs), np.full((7, 3), expected), rtol=1e-6)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_flat_and_shaped_actions_are_inverse(lead):
    box = Box(-1.0, 1.0, (2, 2))
    action = jnp.arange(float(np.prod(lead, dtype=int) * 4)).reshape(*lead, 2, 2)
    flat = flat_actions(box, action)
    assert flat.shape == (*lead, 4)
    np.testing.assert_array_equal(flat, np.asarray(action).reshape(*lead, 4))
    np.testing.assert_array_equal(shaped_actions(box, flat), action)
    scalar = Box(-1.0, 1.0, ())
    single = jnp.ones(lead)
    assert flat_actions(scalar, single).shape == (*lead, 1)
    assert shaped_actions(scalar, flat_actions(scalar, single)).shape == lead
    for space, action in ((Discrete(3), jnp.ones(lead, int)), (MultiDiscrete([2, 3]), jnp.ones((*lead, 2), int))):
        assert flat_actions(space, action) is action and shaped_actions(space, action) is action


def test_numbers_of_outputs():
    found = [num_outputs(space) for space in (Discrete(4), MultiDiscrete([2, 5]), Box(0, 1, (3, 2)), Box(0, 1, ()))]
    assert found == [4, 7, 6, 1]
    for space in (MultiBinary(3), MultiDiscrete([[2, 2]])):
        with pytest.raises(OperantError, match="not served"):
            num_outputs(space)


def test_what_followed_each_step_is_evaluated_once_where_episodes_go_on_and_exactly_where_they_end():
    from operant.parts.networks.heads import next_outputs

    rng = np.random.default_rng(3)
    network = Network(MLP((8,)), jax.random.key(0), (3,), 2, 1.0)
    observation = rng.normal(size=(6, 4, 3)).astype(np.float32)
    ended = rng.random((6, 4)) < 0.3
    # Episodes that go on see what followed as their next observation; ended ones saw something else.
    following = np.concatenate([observation[1:], rng.normal(size=(1, 4, 3)).astype(np.float32)])
    following = np.where(ended[..., None], rng.normal(size=following.shape).astype(np.float32), following)
    outputs = network.after((), jnp.asarray(observation))
    fast = jax.jit(next_outputs)(network, outputs, (), jnp.asarray(following), jnp.asarray(ended))
    np.testing.assert_allclose(fast, network.after((), jnp.asarray(following)), rtol=1e-5, atol=1e-6)
    assert ended[:-1].any() and not ended.all()
