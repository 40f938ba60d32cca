"""Finite MDPs as compiled environments: drawn as their tables say, with Gymnasium's spaces and limits."""

import dataclasses
import itertools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant import finite
from operant.environments import Compiled, Host, compiled_names, make
from operant.environments.finite import Finite, _drawn, _thresholds
from operant.errors import OperantError
from operant.finite import problems
from operant.finite.named import PROBLEMS
from operant.finite.toy_text import toy_text_names

KEY = jax.random.key(0)
JOINT = {
    (0, 0): [(0.25, 1, 1.0, False), (0.0, 1, 99.0, False), (0.125, 1, -1.0, False), (0.625, 0, 2.0, True)],
    (0, 1): [(1.0, 1, 5.0, False)],
    (1, 0): [(0.1, 0, 0.0, False)] * 7 + [(0.3, 1, 3.0, False)],
    (1, 1): [(0.5, 2, 7.0, False), (0.5, 0, -7.0, False), (0.0, 0, 99.0, False)],
}


def joint(**kwargs) -> finite.MDP:
    return finite.MDP.from_function(3, 2, lambda s, a: JOINT[s, a], terminal=[2], **kwargs)


def stepped(world, state, action, count):
    """`count` independent steps from one state: the transitions `[count]`."""
    worlds, _ = world.reset(KEY, count)
    worlds = worlds._replace(state=worlds.state._replace(state=jnp.full(count, state, jnp.int32)))
    return jax.tree.map(np.asarray, jax.jit(world.step)(KEY, worlds, jnp.full(count, action))[1])


@pytest.mark.parametrize("sizes", [(1, 2, 3), (8, 1, 7), (441, 16)])
def test_every_outcome_has_its_share_of_all_bits(sizes):
    rng, count = np.random.default_rng(0), 40_000
    rows = [rng.dirichlet(np.ones(size)) for size in sizes]
    offsets = np.cumsum([0, *sizes])
    thresholds = jnp.asarray(_thresholds(np.concatenate(rows), offsets))
    bits = jnp.asarray(((np.arange(count) + 0.5) * 2.0**32 / count).astype(np.uint32))
    draw = jax.vmap(lambda b, first, last: _drawn(b, thresholds, first, last, max(sizes)), (0, None, None))
    for row, (first, last) in enumerate(itertools.pairwise(offsets)):
        drawn = np.asarray(draw(bits, jnp.int32(first), jnp.int32(last)))
        shares = np.bincount(drawn, minlength=offsets[-1])[first:last] / count
        np.testing.assert_allclose(shares, rows[row], rtol=0, atol=1.01 / count)
    # The last outcome of a row has the last bits, whatever rounding left of the sum.
    assert draw(jnp.full(1, 2**32 - 1, jnp.uint32), jnp.int32(0), jnp.int32(sizes[0]))[0] == sizes[0] - 1


@pytest.mark.parametrize("state, action", JOINT)
def test_next_state_reward_and_end_are_drawn_jointly(state, action):
    count = 20_000
    seen = stepped(make(joint()), state, action, count)
    expected: dict = {}
    for chance, target, reward, ends in JOINT[state, action]:
        key = (target, reward, ends or target == 2)
        expected[key] = expected.get(key, 0.0) + chance
    for (target, reward, ends), chance in expected.items():
        match = (seen.next_observation == target) & (seen.reward == reward) & (seen.terminated == ends)
        assert match.mean() == pytest.approx(chance, abs=5 * np.sqrt(chance * (1 - chance) / count) + 1e-9)
    assert not seen.truncated.any()
    assert seen.next_observation.dtype == np.int32 and seen.reward.dtype == np.float32


def test_episodes_start_as_the_problem_says():
    def shares(mdp):
        return np.bincount(np.asarray(make(mdp).reset(KEY, 8000)[1]), minlength=mdp.num_states) / 8000

    np.testing.assert_allclose(shares(joint()), [0.5, 0.5, 0], atol=0.03)
    told = dataclasses.replace(joint(), start=[0.2, 0.8, 0.0])
    np.testing.assert_allclose(shares(told), [0.2, 0.8, 0], atol=0.03)
    after = stepped(make(told), 0, 0, 8000)
    fresh = after.observation[after.terminated]
    assert (fresh == 1).mean() == pytest.approx(0.8, abs=0.03)
    np.testing.assert_array_equal(after.observation[~after.terminated], after.next_observation[~after.terminated])


def test_the_horizon_truncates():
    world = make(dataclasses.replace(finite.problem("random-walk"), horizon=3, start=np.eye(21)[10]))
    assert world.time_limit == 3
    worlds, first = world.reset(KEY, 2)
    ends, observations = [], [first]
    for t in range(6):
        worlds, seen = jax.jit(world.step)(jax.random.key(t), worlds, jnp.zeros(2, jnp.int32))
        ends.append(bool(seen.truncated[0]))
        observations.append(seen.observation)
        assert not seen.terminated.any()
    assert ends == [False, False, True] * 2
    assert (observations[3] == 10).all() and (seen.next_observation != 10).all()  # three steps end off the middle
    assert make(joint()).time_limit is None and make(joint(), kwargs={"max_steps_in_episode": 5}).time_limit == 5


def test_a_random_walk_returns_what_it_is_worth():
    """Whole episodes of the uniform policy against its exact value, within four standard errors."""
    mdp = finite.from_gymnasium("FrozenLake-v1")
    exact = finite.policy_evaluation(mdp, np.full((16, 4), 0.25), 1.0).values[0]
    world, count = make("FrozenLake-v1", kwargs={"max_episode_steps": 1000}), 4000

    @jax.jit
    def play(worlds):
        def body(carry, t):
            worlds, running, total = carry
            action = jax.random.randint(jax.random.fold_in(KEY, t), (count,), 0, 4)
            worlds, seen = world.step(jax.random.key(t), worlds, action)
            return (worlds, running & ~seen.terminated, total + seen.reward * running), None

        start = (worlds, jnp.ones(count, bool), jnp.zeros(count))
        return jax.lax.scan(body, start, jnp.arange(300))[0][1:]

    running, total = play(world.reset(KEY, count)[0])
    assert not running.any()
    assert abs(total.mean() - exact) <= 4 * total.std() / np.sqrt(count)


@pytest.mark.parametrize("name", toy_text_names())
def test_toy_text_has_the_spaces_and_limits_of_gymnasium(name):
    world = make(name, 2)
    assert isinstance(world, Compiled) and world.name == name and name in compiled_names()
    with gymnasium.make(name) as env:
        assert world.observation_space == env.observation_space and world.action_space == env.action_space
        assert world.time_limit == env.spec.max_episode_steps
        table, model = env.unwrapped.P, world.environment.mdp
        for state, actions in table.items():
            if not model.terminal[state]:
                for action, outcomes in actions.items():
                    assert model.outcomes(state, action) == [tuple(map(float, o[:1])) + o[1:] for o in outcomes]
        starts = set(np.flatnonzero(env.unwrapped.initial_state_distrib))
    assert set(np.asarray(world.reset(KEY, 64)[1]).tolist()) <= starts


def test_arguments_and_backends():
    dry = make("FrozenLake-v1", kwargs={"is_slippery": False, "map_name": "8x8"}, backend="compiled")
    assert dry.observation_space.n == 64 and np.diff(dry.environment.mdp.offsets).max() == 1
    host = make("FrozenLake-v1", 2, backend="gymnasium")
    drawn = make("FrozenLake-v1", kwargs={"render_mode": "rgb_array"})
    assert isinstance(host, Host) and isinstance(drawn, Host)
    host.close()
    drawn.close()
    with pytest.raises(OperantError, match=r"FrozenLake-v1 could not be made: .*slipery"):
        make("FrozenLake-v1", kwargs={"slipery": False})


def test_problems_and_files_have_names(tmp_path):
    assert make("windy-grid").observation_space.n == 70
    maze = make("maze", kwargs={"height": 5, "width": 6})
    assert isinstance(maze, Compiled) and maze.environment.mdp.num_states == problems.maze(5, 6).num_states
    cut = make("maze", kwargs={"height": 5, "width": 6, "max_steps_in_episode": 7})
    assert cut.time_limit == 7 and cut.environment.mdp.num_states == maze.environment.mdp.num_states
    joint().save(tmp_path / "own.mdp")
    assert make(str(tmp_path / "own.mdp")).observation_space.n == 3
    for wrong, words in {"windy-grd": "did you mean 'windy-grid'", "maze": "maze could not be made: TypeError"}.items():
        with pytest.raises(OperantError, match=words):
            make(wrong)
    with pytest.raises(OperantError, match="windy-grid has no gymnasium backend"):
        make("windy-grid", backend="gymnasium")


def test_illegal_actions_are_refused_until_they_are_given_a_meaning():
    gambler = problems.gambler()
    with pytest.raises(OperantError, match=r"action 1 is not legal in state 1.*mdp\.complete\(\)"):
        make(gambler)
    whole = gambler.complete()
    assert whole.legal[1:-1].all() and not whole.legal[[0, 100]].any()
    assert whole.outcomes(3, 40) == gambler.outcomes(3, 0) and whole.outcomes(60, 7) == gambler.outcomes(60, 7)
    np.testing.assert_allclose(finite.value_iteration(whole).values, finite.value_iteration(gambler).values, atol=1e-9)
    assert set(stepped(make(whole), 3, 40, 100).next_observation) == {2, 4}


def test_starting_in_the_end_is_refused():
    with pytest.raises(OperantError, match="may start in state 2, which is terminal"):
        Finite(joint(start=[0.5, 0.0, 0.5]))


def test_every_named_problem_is_there():
    needed = {"maze": {"height": 3, "width": 3}, "sequence-alignment": {"first": "AB", "second": "B"}}
    for name in PROBLEMS:
        assert finite.problem(name, **needed.get(name, {})).num_states > 1
    with pytest.raises(OperantError, match="takes no arguments: size"):
        finite.problem(__file__, size=3)
