"""The original protocol: gymnax's games with all six actions, a tenth of them sticky, and no limit but Freeway's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.minatar.breakout import MinBreakout

from operant.environments import Compiled, make
from operant.environments.minatar import GAMES, STICKY
from operant.errors import OperantError

BREAKOUT = "MinAtar/Breakout-v0"
LENGTH = 40


def played(world, actions, seed=0):
    """The transitions `[T, B]` and states after `actions [T, B]`."""

    @jax.jit
    def run():
        worlds, _ = world.reset(jax.random.key(seed), actions.shape[1])

        def step(worlds, inputs):
            t, action = inputs
            worlds, seen = world.step(jax.random.fold_in(jax.random.key(seed + 1), t), worlds, action)
            return worlds, (seen, worlds.state)

        return jax.lax.scan(step, worlds, (jnp.arange(len(actions)), jnp.asarray(actions)))[1]

    return jax.tree.map(np.asarray, run())


def test_the_ids_are_those_of_the_authors_package():
    for name, (_, limit) in GAMES.items():
        world = make(name, 2)
        assert isinstance(world, Compiled) and world.pooled and world.name == name
        assert world.action_space.n == 6 and world.time_limit == limit
        assert world.observation_space.dtype == bool and world.observation_space.shape[:2] == (10, 10)
        assert world.params.sticky_action_prob == STICKY == 0.1
    assert make("MinAtar/Freeway-v0").time_limit == 2500
    assert make(BREAKOUT, kwargs={"max_steps_in_episode": 7}).time_limit == 7
    with pytest.raises(OperantError, match="unknown parameter of MinAtar/Breakout-v0 'ramping'"):
        make(BREAKOUT, kwargs={"ramping": False})


def test_without_stickiness_it_is_gymnaxs_game_with_all_actions():
    minimal = np.random.default_rng(0).integers(3, size=(LENGTH, 8))
    ours, state = played(make(BREAKOUT, kwargs={"sticky_action_prob": 0.0}), np.array([0, 1, 3])[minimal])
    theirs, _ = played(Compiled(MinBreakout()), minimal)
    for name in ("reward", "terminated", "observation", "next_observation"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert theirs.terminated.any() and theirs.reward.any()
    ended = ours.terminated | ours.truncated
    np.testing.assert_array_equal(state.action, np.where(ended, 0, np.array([0, 1, 3])[minimal]))


def test_always_sticky_is_never_moving():
    rng = np.random.default_rng(1)
    stuck, state = played(make(BREAKOUT, kwargs={"sticky_action_prob": 1.0}), rng.integers(6, size=(LENGTH, 4)))
    idle, _ = played(make(BREAKOUT, kwargs={"sticky_action_prob": 0.0}), np.zeros((LENGTH, 4), int))
    np.testing.assert_array_equal(stuck.next_observation, idle.next_observation)
    assert not state.action.any()


def test_a_tenth_of_the_actions_are_the_last_one_that_was_carried_out():
    actions = np.random.default_rng(2).integers(6, size=(LENGTH, 256))
    seen, state = played(make(BREAKOUT), actions)
    before = np.concatenate([np.zeros((1, 256), int), state.action[:-1]])
    going_on = ~(seen.terminated | seen.truncated)
    done, chosen, last = state.action[going_on], actions[going_on], before[going_on]
    assert ((done == chosen) | (done == last)).all()
    different = chosen != last
    share, sure = np.mean(done[different] == last[different]), np.sqrt(0.09 / different.sum())
    assert abs(share - 0.1) < 4 * sure and sure < 0.01


def test_nothing_but_freeways_clock_ends_what_the_game_does_not():
    ended = {}
    for name, limit in (("MinAtar/Freeway-v0", 2500), (BREAKOUT, 10**6), ("Breakout-MinAtar", 1000)):
        world = make(name)
        worlds, _ = world.reset(KEY, 2)
        times = jnp.array([limit - 2, limit - 1])
        state = worlds.state
        old = state._replace(game=state.game.replace(time=times)) if "/" in name else state.replace(time=times)
        seen = jax.jit(world.step)(KEY, worlds._replace(state=old), jnp.zeros(2, jnp.int32))[1]
        assert not seen.terminated.any()
        ended[name] = seen.truncated.tolist()
    assert list(ended.values()) == [[False, True], [False, False], [False, True]]


KEY = jax.random.key(0)
