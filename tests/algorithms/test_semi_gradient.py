"""Semi-gradient learners over tiles: the book's boxes in float64, a table as the special case, and the mountain car."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant import make
from operant.algorithms.value.semi_gradient_sarsa import SemiGradientSARSA
from operant.algorithms.value.semi_gradient_td import SemiGradientTD
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.errors import OperantError
from operant.parts.exploration import UCB, EpsilonGreedy
from operant.parts.tabular.tiles import Tiles

TILES, ALPHA, DISCOUNT, EPSILON, LENGTH, ENVS = Tiles(4, 3), 0.3, 0.9, 0.2, 50, 2
SPEC = Spec(Box(0.0, 1.0, (2,)), Discrete(3), ENVS)


def steps():
    """Arrays `[LENGTH, ENVS, ...]` of two streams of experience with both kinds of ends."""
    rng = np.random.default_rng(0)
    seen = rng.uniform(size=(LENGTH + 1, ENVS, 2)).astype(np.float32)
    ends = rng.uniform(size=(LENGTH, ENVS))
    return Step(
        seen[:-1], rng.integers(0, 3, (LENGTH, ENVS)).astype(np.int32), rng.normal(size=ends.shape).astype(np.float32),
        ends < 0.1, (ends > 0.9), seen[1:] + 0, (),
    )  # fmt: skip


def weights_of(algorithm):
    """The weights after each step."""
    context = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.0)))

    def learn(state, step):
        one = jax.tree.map(lambda leaf: leaf[None], step)
        window = Window(one, (), jnp.arange(ENVS, dtype=jnp.int32), jnp.int32(0))
        state, _ = algorithm.learn(state, window, jax.random.key(0), context)
        return state, state.policy

    start = algorithm.init(jax.random.key(0), SPEC)
    return np.asarray(jax.jit(lambda: jax.lax.scan(learn, start, jax.tree.map(jnp.asarray, steps())))()[1])


def active(point):
    return np.asarray(TILES.features(SPEC.observation_space, point))


def test_sarsa_is_the_books():
    w, waiting, data = np.zeros((3, TILES.size(SPEC.observation_space))), [None] * ENVS, steps()
    learned = weights_of(SemiGradientSARSA(ALPHA, DISCOUNT, EpsilonGreedy(EPSILON), TILES))

    def move(x, a, target):
        w[a, x] += ALPHA / 4 * (target - w[a, x].sum())

    for t in range(LENGTH):
        for e in range(ENVS):
            x, a, r = active(data.observation[t, e]), data.action[t, e], data.reward[t, e]
            if waiting[e] is not None:
                before, action, reward = waiting[e]
                move(before, action, reward + DISCOUNT * w[a, x].sum())
            waiting[e] = None
            if data.terminated[t, e]:
                move(x, a, r)
            elif data.truncated[t, e]:
                q = w[:, active(data.next_observation[t, e])].sum(axis=1)
                best = q == q.max()
                move(x, a, r + DISCOUNT * ((EPSILON / 3 + (1 - EPSILON) * best / best.sum()) @ q))
            else:
                waiting[e] = x, a, r
        np.testing.assert_allclose(learned[t], w, rtol=1e-4, atol=1e-5)


def test_td_is_the_books():
    w, data = np.zeros(TILES.size(SPEC.observation_space)), steps()
    learned = weights_of(SemiGradientTD(ALPHA, DISCOUNT, TILES))
    for t in range(LENGTH):
        for e in range(ENVS):
            x, after = active(data.observation[t, e]), active(data.next_observation[t, e])
            target = data.reward[t, e] + (0.0 if data.terminated[t, e] else DISCOUNT * w[after].sum())
            w[x] += ALPHA / 4 * (target - w[x].sum())
        np.testing.assert_allclose(learned[t], w, rtol=1e-4, atol=1e-5)


def test_one_tile_a_state_finds_the_values_of_the_random_walk():
    # Example 6.2 again: with a tile for each of the seven states it is the table, v = 1/6 ... 5/6.
    from operant import finite

    driver = CompiledDriver(
        [SemiGradientTD(0.02, tiles=Tiles(1, 7))] * 8, make(finite.problems.random_walk(5, left=0.0)), 4
    )
    values = np.asarray(driver.advance(driver.start(0), 0, 60, 60).state.policy)[:, 1:6]
    np.testing.assert_allclose(values.mean(axis=0), np.arange(1, 6) / 6, atol=0.06)


def car_lengths(iterations, seeds, limit=10_000):
    """Mean steps of an episode over the last tenth of training, one for each seed."""
    world = make("MountainCar-v0", backend="compiled", kwargs={"max_steps_in_episode": limit})
    driver = CompiledDriver(SemiGradientSARSA(0.5), world, 1, num_seeds=seeds)
    carry = driver.advance(driver.start(0), 0, iterations * 9 // 10, iterations)
    carry = driver.advance(driver.cleared(carry), iterations * 9 // 10, iterations // 10, iterations)
    lengths = carry.totals["episode_length"]
    return np.asarray(lengths.total / lengths.count)


def test_the_mountain_car_learns_without_a_time_limit():
    # Figure 10.1, alpha = 0.5 / 8, epsilon 0: some 500 episodes take about 100,000 steps; then about 120 steps each.
    lengths = car_lengths(1000, 10)
    assert 105 < lengths.mean() < 140 and lengths.max() < 170


@pytest.mark.slow
def test_the_mountain_car_of_gymnasium_learns_alike():
    world = make("MountainCar-v0", 1, "gymnasium", {"max_episode_steps": 2000})
    driver = HostDriver(SemiGradientSARSA(0.5), world)
    carry = driver.advance(driver.start(0), 0, 7000, 10_000)
    carry = driver.advance(driver.cleared(carry), 7000, 3000, 10_000)
    lengths = carry.totals["episode_length"]
    assert lengths.total / lengths.count < 250


def test_what_cannot_be_served_is_refused():
    for algorithm, spec, match in (
        (SemiGradientSARSA(), Spec(Box(-np.inf, np.inf, (2,)), Discrete(3), 1), "bounds"),
        (SemiGradientSARSA(), Spec(Box(0.0, 1.0, (2,)), Box(0.0, 1.0, (2,)), 1), "Discrete"),
        (SemiGradientSARSA(exploration=UCB()), SPEC, "counts"),
        (SemiGradientSARSA(discount=2.0), SPEC, "discount"),
        (SemiGradientTD(learning_rate=-1.0), SPEC, "learning_rate"),
    ):
        with pytest.raises(OperantError, match=match):
            algorithm.check(spec)
