"""Dyna: each step against the book's boxes in float64, and the mazes of chapter 8."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from operant import finite, make
from operant.algorithms.tabular.dyna_q import DynaQ
from operant.algorithms.tabular.prioritised_sweeping import PrioritisedSweeping
from operant.algorithms.tabular.q_learning import QLearning
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.core import keys
from operant.core.drivers.compiled import CompiledDriver
from operant.environments.compiled import Compiled
from operant.environments.mazes import ChangingMaze, Schedule
from operant.errors import OperantError
from operant.parts.exploration import UCB, EpsilonGreedy

STATES, ACTIONS, LENGTH, DISCOUNT = 5, 3, 60, 0.9
SPEC = Spec(Discrete(STATES), Discrete(ACTIONS), 1)


def transitions():
    """A walk through a world whose outcomes change: (state, action, reward, terminated, next state), in turn."""
    rng, state = np.random.default_rng(0), 0
    for _ in range(LENGTH):
        # An outcome may end the episode in a state from which others go on, as in Gymnasium's tables.
        action, following, terminated = rng.integers(ACTIONS), rng.integers(STATES), rng.random() < 0.2
        yield state, action, rng.normal(), terminated, following
        state = 0 if terminated else following


def stepped(algorithm):
    """The tables after each of `transitions`, and the key of each."""
    context = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.0)))
    rows = [np.array(column) for column in zip(*transitions(), strict=True)]
    seeds = jax.random.split(jax.random.key(3), LENGTH)

    def learn(state, inputs):
        (here, action, reward, ended, following), key = inputs
        ends = ended[None, None], jnp.zeros((1, 1), bool)
        step = Step(here[None, None], action[None, None], reward[None, None], *ends, following[None, None], ())
        window = Window(step, (), jnp.zeros(1, jnp.int32), jnp.int32(0))
        state, _ = algorithm.learn(state, window, key, context)
        return state, state.policy.action_values

    typed = [jnp.asarray(c, {"i": jnp.int32, "f": jnp.float32, "b": bool}[c.dtype.kind]) for c in rows]
    start = algorithm.init(jax.random.key(0), SPEC)
    return np.asarray(jax.jit(lambda: jax.lax.scan(learn, start, (tuple(typed), seeds)))()[1]), seeds


@pytest.mark.parametrize("bonus", [None, 0.1])
def test_dyna_q_is_the_books(bonus):
    n, alpha = 7, 0.3
    tables, seeds = stepped(DynaQ(alpha, DISCOUNT, planning_steps=n, bonus=bonus))
    q, model, order, tried_at = np.zeros((STATES, ACTIONS)), {}, [], np.zeros((STATES, ACTIONS))

    def improve(s, a, r, terminated, following):
        q[s, a] += alpha * (r + DISCOUNT * (0.0 if terminated else q[following].max()) - q[s, a])

    for time, (table, key, (s, a, r, terminated, following)) in enumerate(
        zip(tables, seeds, transitions(), strict=True)
    ):
        improve(s, a, r, terminated, following)
        order += [] if s in order else [s]
        model[s, a], tried_at[s, a] = (r, terminated, following), time + 1
        for which, act in np.asarray(jax.random.uniform(key, (n, 2)), np.float64):
            state = order[int(which * len(order))]
            choices = [b for b in range(ACTIONS) if bonus is not None or (state, b) in model]
            action = choices[int(act * len(choices))]
            reward, ended, target = model.get((state, action), (0.0, False, state))
            if bonus is not None:
                reward += bonus * np.sqrt(time + 1 - tried_at[state, action])
            improve(state, action, reward, ended, target)
        np.testing.assert_allclose(table, q, rtol=1e-4, atol=1e-5)


def test_prioritised_sweeping_is_the_books():
    n, alpha, threshold = 4, 0.6, 0.05
    tables, _ = stepped(PrioritisedSweeping(alpha, DISCOUNT, planning_steps=n, threshold=threshold))
    q, model, queue = np.zeros((STATES, ACTIONS)), {}, {}

    def error(s, a):
        r, terminated, following = model[s, a]
        return r + DISCOUNT * (0.0 if terminated else q[following].max()) - q[s, a]

    def wait(s, a):
        if abs(error(s, a)) > threshold:
            queue[s, a] = max(queue.get((s, a), 0.0), abs(error(s, a)))

    for table, (s, a, *outcome) in zip(tables, transitions(), strict=True):
        model[s, a] = tuple(outcome)
        wait(s, a)
        for _ in range(n):
            if not queue:
                break
            first = max(queue, key=lambda pair: queue[pair])
            del queue[first]
            q[first] += alpha * error(*first)
            for pair, (_, terminated, following) in model.items():
                if following == first[0] and not terminated:
                    wait(*pair)
        np.testing.assert_allclose(table, q, rtol=1e-4, atol=1e-5)


MAZE = finite.problems.dyna_maze()


@functools.cache
def maze():
    return make(MAZE)


def test_dyna_q_without_planning_is_q_learning():
    common = {"learning_rate": 0.1, "discount": 0.95, "exploration": EpsilonGreedy(0.1)}
    tables = []
    for algorithm in (DynaQ(planning_steps=0, **common), QLearning(**common)):
        driver = CompiledDriver(algorithm, maze(), 1)
        tables.append(driver.advance(driver.start(1), 0, 60, 60).state.policy.action_values)
    assert np.abs(tables[0]).max() > 0
    np.testing.assert_array_equal(*tables)


def ends(algorithm, world, steps, seeds):
    """Whether an episode ended at each step: bool `[seeds, steps]`, every step learned from before the next."""
    spec = world.spec(1)

    def run(root):
        key_init, key_reset, key_run = jax.random.split(root, 3)
        state = algorithm.init(key_init, spec)
        worlds, observation = world.reset(key_reset, 1)

        def step(carry, key):
            state, worlds, observation = carry
            context = Context(spec, Clock(jnp.int32(0), jnp.float32(0.0)))
            key_act, key_step, key_learn = jax.random.split(key, 3)
            _, action, _ = algorithm.act(state.policy, (), observation, key_act, context, explore=True)
            worlds, seen = world.step(key_step, worlds, action)
            ended = seen.terminated, seen.truncated
            one = Step(observation, action, seen.reward, *ended, seen.next_observation, ())
            window = Window(jax.tree.map(lambda x: x[None], one), (), jnp.zeros(1, jnp.int32), jnp.int32(0))
            state, _ = algorithm.learn(state, window, key_learn, context)
            return (state, worlds, seen.observation), seen.terminated[0]

        return jax.lax.scan(step, (state, worlds, observation), jax.random.split(key_run, steps))[1]

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(keys.root(0), seeds)))


def lengths(ended, count):
    """Steps of the first `count` episodes, `[seeds, count]`."""
    assert (ended.sum(axis=1) >= count).all()
    return np.stack([np.diff(np.flatnonzero(row)[:count], prepend=-1) for row in ended])


def test_planning_finds_the_way_within_few_episodes():
    # Figure 8.2: alpha .1, epsilon .1, 30 runs. The shortest path has 14 steps; exploring makes it a little longer.
    steps, seeds = {0: 9000, 5: 5000, 50: 4000}, 30
    curves = {
        n: lengths(ends(DynaQ(planning_steps=n), maze(), steps[n], seeds), {0: 40, 5: 12, 50: 8}[n]) for n in steps
    }
    mean = {n: curve.mean(axis=0) for n, curve in curves.items()}
    near = 20.0
    assert mean[50][3:].max() < near and mean[50][1] > near
    assert mean[5][6:].max() < near + 2 and mean[5][2] > near
    assert mean[0][30:].mean() < near and mean[0][10] > near + 5
    assert min(curve.min() for curve in curves.values()) >= 14


@pytest.mark.slow
def test_prioritised_sweeping_needs_fewer_updates():
    # As many planning steps find the way sooner when they are taken where values change.
    swept = lengths(ends(PrioritisedSweeping(), maze(), 6000, 20), 6)
    drawn = lengths(ends(DynaQ(0.5, planning_steps=5), maze(), 6000, 20), 6)
    saved = (drawn - swept)[:, 1:].sum(axis=1)
    assert saved.mean() > 3 * saved.std() / np.sqrt(len(saved))
    # Most of it in the second episode, for which the first reward was carried far back.
    assert swept[:, 1].mean() < 0.6 * drawn[:, 1].mean()


def test_learned_values_are_the_exact_ones():
    exact = finite.value_iteration(MAZE, discount=0.95).action_values
    for algorithm in (
        DynaQ(0.5, exploration=EpsilonGreedy(0.5), planning_steps=20),
        PrioritisedSweeping(1.0, exploration=EpsilonGreedy(0.5), planning_steps=20, threshold=1e-6),
    ):
        driver = CompiledDriver(algorithm, maze(), 1)
        values = np.asarray(driver.advance(driver.start(0), 0, 150, 150).state.policy.action_values[0])
        going = ~MAZE.stored().terminal
        np.testing.assert_allclose(values[going], exact[going], atol=0.02)


@pytest.mark.parametrize(("layouts", "change_at", "steps", "bonus"), [
    (("blocking", "blocked"), 1000, 3000, 1e-3), (("shortcut", "shortcut-open"), 3000, 6000, 1e-3),
])  # fmt: skip
def test_the_bonus_finds_what_changed(layouts, change_at, steps, bonus):
    # Figures 8.4 and 8.5: rewards after the walls have moved.
    world = Compiled(ChangingMaze(*layouts), Schedule(change_at))
    plain, curious = (
        ends(DynaQ(0.5, planning_steps=20, bonus=kappa), world, steps, 20)[:, change_at:].sum(axis=1)
        for kappa in (None, bonus)
    )
    assert curious.mean() - plain.mean() > 3 * np.hypot(curious.std(), plain.std()) / np.sqrt(20)


def test_a_changing_maze_keeps_its_clock_over_episodes_and_moves_its_walls():
    maze, schedule = ChangingMaze(), Schedule(2)
    cell, place = maze.reset(jax.random.key(0), schedule)
    assert int(cell) == 5 * 9 + 3
    below_the_gap = place._replace(cell=jnp.int32(4 * 9 + 8))
    up = jnp.int32(0)
    open_, later = (maze.step(jax.random.key(0), below_the_gap._replace(time=t), up, schedule) for t in (1, 2))
    assert int(open_[0]) == 3 * 9 + 8 and int(later[0]) == 4 * 9 + 8
    beside = place._replace(cell=jnp.int32(7), time=jnp.int32(9))
    observation, after, reward, terminated, truncated, info = maze.step(
        jax.random.key(0), beside, jnp.int32(2), schedule
    )
    assert (int(observation), float(reward), bool(terminated), bool(truncated)) == (48, 1.0, True, False)
    assert int(info["final_observation"]) == 8 and int(after.time) == 10
    with pytest.raises(OperantError, match="unknown layout 'blockign'"):
        ChangingMaze("blockign")


def test_what_cannot_be_served_is_refused():
    for algorithm, match in (
        (DynaQ(planning_steps=-1), "planning_steps"), (DynaQ(bonus=-1.0), "bonus"),
        (DynaQ(exploration=UCB()), "counts"),
        (PrioritisedSweeping(planning_steps=0), "planning_steps"), (PrioritisedSweeping(threshold=-1.0), "threshold"),
    ):  # fmt: skip
        with pytest.raises(OperantError, match=match):
            algorithm.check(SPEC)
