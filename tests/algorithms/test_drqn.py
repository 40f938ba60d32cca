"""DRQN: targets, losses and priorities against a step-by-step unroll; memory that is stored, warmed and cleared."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.contracts import Spec
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.environments import Compiled, Host
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP, Dueling, Noisy
from operant.parts.replay import Prioritised, Uniform
from operant.parts.replay.sequences import Batch
from operant.parts.replay.transitions import Batch as Single
from operant.parts.values.bootstraps import Double, Max, Munchausen
from tests.probes import Memory, as_gymnasium

LENGTH, BURN, ROWS, FEATURES, ACTIONS, DISCOUNT = 6, 3, 5, 4, 3, 0.9
WHOLE = BURN + LENGTH
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Discrete(ACTIONS), 2)
KEY = jax.random.key(0)
drqn = DRQN(
    discount=DISCOUNT, num_steps=LENGTH, burn_in=BURN, batch_size=ROWS, replay=Uniform(64), network=GRU(5, (6,)),
    bootstrap=Max(), warmup=0, rescale=False,
)  # fmt: skip


@functools.cache
def networks():
    build = jax.jit(lambda key: drqn._build(key, SPEC))
    return tuple(jax.tree.map(lambda leaf: 2.0 * leaf, build(jax.random.key(seed))) for seed in (1, 2))


@functools.cache
def told():
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    terminated, truncated = rng.uniform(size=(2, WHOLE, ROWS)) < 0.15
    learned = slice(BURN, None)
    assert terminated[learned].any() and (truncated & ~terminated)[learned].any() and terminated[:BURN].any()
    features, following, last = normal(WHOLE, ROWS, FEATURES), normal(LENGTH, ROWS, FEATURES), terminated | truncated
    inside = ~last[BURN:-1, :, None]
    following[:-1] = np.where(inside, features[BURN + 1 :], following[:-1])
    action, continues = rng.integers(0, ACTIONS, (LENGTH, ROWS)), 1.0 - terminated[learned].astype(np.float32)
    return Batch(normal(ROWS, 5), features, last, action.astype(np.int32), normal(LENGTH, ROWS), continues, following)


def batch():
    return jax.tree.map(jnp.asarray, told())


@jax.jit
def step(network, memory, features):
    memory, values = network(memory[None], features[None])
    return memory[0], values[0]


def unrolled(network, row):
    """Values of the steps learned from, and of what followed each, one step at a time."""
    memory, values, following = batch().memory[row], [], []
    for t in range(WHOLE):
        after, value = step(network, memory, batch().features[t, row])
        if t >= BURN:
            values.append(value)
            following.append(step(network, after, batch().following[t - BURN, row])[1])
        memory = jnp.zeros(5) if batch().last[t, row] else after
    return np.array(values, np.float64), np.array(following, np.float64)


def f(x):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x


def inverse(x):
    size = (np.sqrt(1 + 4e-3 * (np.abs(x) + 1 + 1e-3)) - 1) / 2e-3
    return np.sign(x) * (size**2 - 1)


def references(double, n, rescale=False):
    """`(errors [T, B])` of the minibatch, by the definition."""
    (online, target), b = networks(), told()
    errors = np.zeros((LENGTH, ROWS))
    for row in range(ROWS):
        values, judged = unrolled(online, row)
        _, worth = unrolled(target, row)
        best = (judged if double else worth).argmax(-1)
        worth = inverse(worth) if rescale else worth
        for t in range(LENGTH):
            total, power, now = 0.0, 1.0, t
            while True:
                total, power = total + power * b.reward[now, row], power * DISCOUNT
                if b.last[BURN + now, row] or now == t + n - 1 or now == LENGTH - 1:
                    break
                now += 1
            total += power * b.continues[now, row] * worth[now, best[now]]
            errors[t, row] = (f(total) if rescale else total) - values[t, b.action[t, row]]
    return errors


@pytest.mark.parametrize(("bootstrap", "n", "rescale"), [(Max(), 1, False), (Double(), 1, False), (Double(), 3, True)])
def test_losses_and_priorities_are_those_of_a_step_by_step_unroll(bootstrap, n, rescale):
    algorithm = dataclasses.replace(drqn, bootstrap=bootstrap, n_step=n, rescale=rescale)

    @jax.jit
    def run(online, target):
        goal = algorithm._goal(online, target, batch(), KEY)
        return algorithm._loss(online, batch(), goal, KEY)

    losses, metrics, priorities = run(*networks())
    errors = references(isinstance(bootstrap, Double), n, rescale)
    size = np.abs(errors)
    np.testing.assert_allclose(losses, (0.5 * errors**2).mean(0), rtol=1e-4)
    np.testing.assert_allclose(priorities, 0.9 * size.max(0) + 0.1 * size.mean(0), rtol=1e-4)
    assert set(metrics) == {"value"}


def test_the_estimators_differ():
    cases = (False, 1), (True, 1), (True, 3), (True, 3, True)
    one, other, several, rescaled = (references(*case) for case in cases)
    for a, b in ((one, other), (other, several), (several, rescaled)):
        assert np.abs(a - b).max() > 0.1


def test_warming_moves_the_memory_and_not_the_parameters():
    online, target = networks()
    goal = jax.jit(lambda o, t: drqn._goal(o, t, batch(), KEY))(online, target)

    @jax.jit
    def gradient(algorithm, network, batch):
        return jax.grad(lambda net: jnp.sum(algorithm._loss(net, batch, goal, KEY)[0]))(network)

    whole = gradient(drqn, online, batch())
    # The same from the memory that warming comes to, as numbers.
    memory = jnp.stack([warmed(online, row) for row in range(ROWS)])
    cut = batch()._replace(memory=memory, features=batch().features[BURN:], last=batch().last[BURN:])
    cold = dataclasses.replace(drqn, burn_in=0)
    same, other = gradient(cold, online, cut), gradient(cold, online, cut._replace(memory=batch().memory))
    pairs = list(zip(*map(jax.tree.leaves, (whole, same, other)), strict=True))
    for a, b, _ in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert max(np.abs(a - c).max() for a, _, c in pairs) > 1e-2


def warmed(network, row):
    memory = batch().memory[row]
    for t in range(BURN):
        after, _ = step(network, memory, batch().features[t, row])
        memory = jnp.zeros(5) if batch().last[t, row] else after
    return memory


# Windows of 4 and episodes of 3 steps: rows begin anywhere in them.
small = dataclasses.replace(drqn, num_steps=4, burn_in=1, network=GRU(4, (4,)), num_updates=2, target_every=50)
ITERATIONS = 8


@functools.cache
def compiled(algorithm):
    driver = CompiledDriver(algorithm, Compiled(Memory()), 2)
    return driver, driver.advance(driver.start(0), 0, ITERATIONS, ITERATIONS)


@pytest.mark.parametrize("host", [False, True], ids=["compiled", "host"])
def test_stored_memory_is_what_the_policy_had_and_runs_on_from_row_to_row(host):
    still = dataclasses.replace(small, learning_rate=0.0)  # one policy explains every row
    if host:
        driver = HostDriver(still, Host([as_gymnasium(Memory)] * 2))
        state = driver.advance(driver.start(0), 0, ITERATIONS, ITERATIONS).state
    else:
        state = jax.tree.map(lambda leaf: leaf[0], compiled(still)[1].state)
    index = jnp.arange(2 * ITERATIONS, dtype=jnp.int32)
    spec = Spec(Box(-1, 1, (1,)), Discrete(2), 2)
    batch = jax.jit(lambda state: still._minibatch(still._read(state.replay, index, spec), spec))(state)
    assert np.asarray(batch.last).mean() > 0.2
    until = still.num_steps  # from a row's first step to the first of the next row in its stream
    reached = jax.jit(lambda net, b: net.unroll(b.memory, b.features[:until], b.last[:until])[0])(state.policy, batch)
    # The very first rows begin before the stream does, where every step ends.
    np.testing.assert_allclose(reached[:-2], batch.memory[2:], atol=1e-6)
    assert np.abs(batch.memory).max() > 0.1


def test_chunks_of_any_length_give_the_same_bits():
    driver, whole = compiled(small)
    carry = driver.advance(driver.start(0), 0, 3, ITERATIONS)
    carry = driver.advance(carry, 3, ITERATIONS - 3, ITERATIONS)
    key_data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x  # noqa: E731
    for a, b in zip(*(jax.tree.leaves(jax.tree.map(key_data, c)) for c in (whole, carry)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_what_the_family_shares_works_with_memory():
    algorithm = dataclasses.replace(
        small, network=Noisy(Dueling(GRU(4, (4,)), hidden=(4,))), replay=Prioritised(64), bootstrap=Munchausen()
    )
    _, carry = compiled(algorithm)
    before = algorithm.init(KEY, SPEC).replay
    assert int(algorithm.replay.size(before)) == 0 and int(carry.state.replay.ring.filled[0]) == ITERATIONS
    priorities = np.asarray(carry.state.replay.tree.leaves)[0].ravel()[: 2 * ITERATIONS]
    assert len(set(priorities)) > 2 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(carry.state.policy))


def test_no_two_arrays_of_a_fresh_state_share_a_buffer():
    leaves = jax.tree.leaves(drqn.init(KEY, SPEC))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


class Forgetful(eqx.Module):
    """A body with a memory that it never reads."""

    body: eqx.Module

    def __init__(self, key, shape):
        self.body = MLP((), initialisation="uniform")(key, shape)

    def start(self):
        return jnp.zeros(1)

    def __call__(self, memory, x):
        return memory + 1.0, self.body(x)


def test_with_a_memory_that_is_never_read_it_is_dqn():
    online, target = (dataclasses.replace(drqn, network=Forgetful)._build(jax.random.key(s), SPEC) for s in (1, 2))
    algorithm = dataclasses.replace(drqn, network=Forgetful)
    rows = batch()._replace(memory=jnp.zeros((ROWS, 1)))
    goal = algorithm._goal(online, target, rows, KEY)
    losses, _, _ = algorithm._loss(online, rows, goal, KEY)
    flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
    learned = rows.features[BURN:], rows.action, rows.reward, DISCOUNT * rows.continues, rows.following
    single = Single(*map(flat, learned))
    plain = DQN(discount=DISCOUNT, network=MLP(()))
    bare = [eqx.tree_at(lambda n: n.head, plain._build(KEY, SPEC), net.head) for net in (online, target)]
    expected, _, _ = plain._loss(bare[0], single, plain._goal(*bare, single, KEY), KEY)
    np.testing.assert_allclose(losses, np.asarray(expected).reshape(LENGTH, ROWS).mean(0), rtol=1e-5)


def test_check_says_what_is_wrong():
    drqn.check(SPEC)
    for algorithm, match in (
        (DRQN(network=MLP((4,))), "DRQN needs a network with memory, such as GRU: dqn"),
        (DRQN(burn_in=17), "burn_in must be between 0 and 16, not 17"),
        (DRQN(replay=Uniform(16)), "a replay of 16 sequences is smaller than a minibatch of 32"),
        (DRQN(bootstrap=Munchausen(), n_step=2), "Munchausen is defined for n_step 1"),
    ):
        with pytest.raises(OperantError, match=match):
            algorithm.check(SPEC)
