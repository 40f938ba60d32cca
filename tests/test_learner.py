"""Learning in the user's own loop is, bit for bit, what the host driver does."""

import dataclasses
import itertools

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import operant
from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.contracts import Spec
from operant.core import training
from operant.core.drivers.host import HostDriver
from operant.core.runs.journal import Journal
from operant.environments import Host
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.replay import Uniform
from operant.parts.tabular.tiles import Tiles

ITERATIONS = 6
SMALL = MLP((8,))
ppo = PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=SMALL)
dqn = DQN(num_steps=4, warmup=8, batch_size=8, replay=Uniform(64), network=SMALL)

drqn = DRQN(
    num_steps=4, burn_in=2, warmup=4, batch_size=2, num_updates=1, replay=Uniform(8), network=GRU(4, (4,))
)  # fmt: skip


def cartpole():
    return gymnasium.make("CartPole-v1", max_episode_steps=9)  # both ends occur


def pendulum():
    return gymnasium.make("Pendulum-v1", max_episode_steps=9)


def several(make, count, mode=AutoresetMode.SAME_STEP):
    return SyncVectorEnv([make] * count, autoreset_mode=mode)


def driven(algorithm, make, count):
    """What the host driver leaves, and the seed that it gave its environments."""
    driver = HostDriver(algorithm, Host([make] * count))
    carry = driver.start(3)
    seed = driver.reset_seed(carry, 0)
    outcome = training.run(driver, training.Plan(carry, 0, ITERATIONS, ITERATIONS), Journal([3]))
    return outcome, seed, driver.steps_per_iteration * ITERATIONS


def plain(leaf):
    return jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def same(learner, outcome):
    for x, y in zip(jax.tree.leaves(learner._carry), jax.tree.leaves(outcome.carry), strict=True):
        np.testing.assert_array_equal(
            *(jax.random.key_data(z) if z.dtype == learner._carry.key.dtype else z for z in (x, y))
        )
    assert learner.history == outcome.history[0]


def one_environment(learner, environment, seed):
    """The loop that every tutorial draws, until the planned windows were learned from."""
    observation, _ = environment.reset(seed=seed)
    windows = 0
    while windows < ITERATIONS:
        action = learner.act(observation)
        assert environment.action_space.contains(action)
        observation, reward, terminated, truncated, _ = environment.step(action)
        windows += learner.observe(reward, terminated, truncated, observation)
        if terminated or truncated:
            observation, _ = environment.reset()


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        (ppo, cartpole),
        (ppo, pendulum),
        (dataclasses.replace(ppo, network=GRU(4, (4,)), num_minibatches=1), cartpole),
        (dqn, cartpole),
        (drqn, cartpole),
        (REINFORCE(network=SMALL), cartpole),
    ],
    ids=["ppo", "ppo-continuous", "ppo-memory", "dqn", "drqn", "reinforce"],
)
def test_one_environment_gives_the_drivers_bits(algorithm, make):
    outcome, seed, steps = driven(algorithm, make, 1)
    environment = make()
    learner = operant.Learner(algorithm, environment, seed=3, steps=steps)
    one_environment(learner, environment, seed)
    same(learner, outcome)
    assert learner.steps == steps and learner.metrics == learner.history[-1]
    assert any(row["episode_length"] for row in learner.history)


@pytest.mark.parametrize(
    ("algorithm", "mode"),
    [
        (ppo, AutoresetMode.SAME_STEP),
        (dqn, AutoresetMode.DISABLED),
        (REINFORCE(network=SMALL), AutoresetMode.SAME_STEP),
    ],
    ids=["ppo", "dqn", "reinforce"],
)
def test_several_environments_give_the_drivers_bits(algorithm, mode):
    outcome, seed, steps = driven(algorithm, cartpole, 2)
    environments = several(cartpole, 2, mode)
    learner = operant.Learner(algorithm, environments, seed=3, steps=steps)
    observation, _ = environments.reset(seed=seed)
    windows = 0
    while windows < ITERATIONS:
        action = learner.act(observation)
        observation, reward, terminated, truncated, info = environments.step(action)
        learned = learner.observe(reward, terminated, truncated, observation, info)
        windows += learned
        ended = terminated | truncated
        if mode == AutoresetMode.DISABLED and ended.any():
            observation, _ = environments.reset(options={"reset_mask": ended})
        if learned and isinstance(algorithm, REINFORCE) and not ended.all():
            with pytest.raises(OperantError, match="whole episodes start together"):
                learner.act(observation)
            observation, _ = environments.reset()
            learner.reset()
    same(learner, outcome)


def test_by_name_with_fields_and_a_spec_of_spaces():
    environment = pendulum()
    spec = Spec(environment.observation_space, environment.action_space, 1, 9)
    fields = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 1, "network": SMALL}
    named = operant.Learner("ppo", spec, seed=3, steps=16, **fields)
    given = operant.Learner(PPO(**fields), environment, seed=3, steps=16)
    observation = environment.observation_space.sample()
    np.testing.assert_array_equal(named.act(observation), given.act(observation))
    with pytest.raises(OperantError, match="did you mean 'num_steps'"):
        operant.Learner("ppo", spec, num_stps=3)
    with pytest.raises(OperantError, match="on the algorithm object"):
        operant.Learner(ppo, spec, num_steps=3)
    with pytest.raises(OperantError, match="steps must be"):
        operant.Learner(ppo, spec, steps=0)


def test_the_agent_is_a_copy_of_the_present_policy():
    environment = cartpole()
    learner = operant.Learner(dqn, environment, seed=3, steps=400)
    before = learner.agent
    rows = np.random.default_rng(0).normal(size=(50, 4))
    first = before.act(rows)
    one_environment(learner, environment, 0)
    np.testing.assert_array_equal(before.act(rows), first)
    assert learner.agent.history == learner.history
    with pytest.raises(OperantError, match="pass environment="):
        learner.agent.evaluate(2)
    assert learner.agent.evaluate(2, environment=cartpole).episodes == 2


def test_saved_it_is_a_run(tmp_path):
    environment = cartpole()
    learner = operant.Learner(dqn, environment, seed=3, steps=4 * 100)
    one_environment(learner, environment, 0)
    learner.save(tmp_path / "mine")
    rows = np.random.default_rng(0).normal(size=(50, 4))
    agent = operant.load(tmp_path / "mine")
    np.testing.assert_array_equal(agent.act(rows), learner.agent.act(rows))
    assert agent.history == learner.history

    again = operant.Learner.load(tmp_path / "mine")
    assert (again.steps, again.history) == (learner.steps, learner.history)
    for each in (learner, again):  # the same events from here on
        each.reset()
        one_environment(each, cartpole(), 7)
    same(again, training.Outcome(learner._carry, 0, learner._progress, [learner.history], False))

    with pytest.raises(OperantError, match="not empty"):
        learner.save(tmp_path / "mine")
    resumed = operant.resume(tmp_path / "mine", environment=cartpole, progress="none")
    assert resumed.history[-1]["steps"] == 400


def test_a_reset_by_hand_is_a_truncation():
    environment = cartpole()
    learner = operant.Learner(ppo, environment, seed=0, steps=8)
    windows, learn = [], learner._loop._learn

    def spy(algorithm, carry, window, *rest):
        windows.append(window)
        return learn(algorithm, carry, window, *rest)

    learner._loop._learn = spy
    observation, _ = environment.reset(seed=0)
    for t in itertools.count():
        observation, reward, terminated, truncated, _ = environment.step(learner.act(observation))
        if learner.observe(reward, terminated, truncated, observation):
            break
        assert not (terminated or truncated)
        if t == 2:
            observation, _ = environment.reset()
            learner.reset()
    np.testing.assert_array_equal(np.flatnonzero(windows[0].steps.truncated), [2])
    steps = windows[0].steps
    assert (steps.next_observation[0] == steps.observation[1]).all()
    assert not (steps.next_observation[2] == steps.observation[3]).all()


@pytest.mark.parametrize(
    "name, fields",
    [
        ("sarsa", {}),
        ("n-step-sarsa", {"n": 2}),
        ("n-step-td", {"n": 2}),
        ("tree-backup", {"n": 2}),
        ("sarsa-lambda", {}),
        ("td-lambda", {}),
        ("watkins-q-lambda", {}),
        ("semi-gradient-sarsa", {"tiles": Tiles(1, 3)}),
    ],
)
def test_what_follows_a_reset_by_hand_teaches_nothing_to_the_episode_before(name, fields):
    # One action; 2 ends with a reward, 0 -> 1 is paid nothing and cut by hand in between. Only 2 has earned it.
    learner = operant.Learner(name, Spec(Discrete(3), Discrete(1), 1), steps=4, learning_rate=0.5, **fields)
    learner.act(2)
    learner.observe(1.0, True, False, 0)
    learner.act(0)
    learner.observe(0.0, False, False, 1)
    learner.reset()
    learner.act(2)
    learner.observe(1.0, True, False, 0)
    learned = np.sort(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(learner._carry.state.policy)]))
    np.testing.assert_allclose(learned[-1], 0.75)
    np.testing.assert_array_equal(learned[:-1], 0.0)


def test_wrong_orders_and_shapes_are_told_in_one_line():
    zeros = np.zeros(4, np.float32)
    learner = operant.Learner(ppo, cartpole(), steps=8)
    with pytest.raises(OperantError, match="observe comes after act"):
        learner.observe(0.0, False, False, zeros)
    with pytest.raises(OperantError, match="does not fit"):
        learner.act(np.zeros(3))
    with pytest.raises(OperantError, match="2 observations were given for 1"):
        learner.act(np.zeros((2, 4)))
    learner.act(zeros)
    with pytest.raises(OperantError, match="act was called twice"):
        learner.act(zeros)
    for wrong, told in [
        ((None, False, False, zeros), "reward must be a number"),
        (([1.0], False, False, zeros), "reward must be a number"),
        ((0.0, 0.5, False, zeros), "terminated must be a truth value"),
        ((0.0, False, {}, zeros), "truncated must be a truth value"),
        ((0.0, False, False, zeros[:2]), "does not fit"),
        ((0.0, False, False, zeros[None]), "batch"),
    ]:
        with pytest.raises(OperantError, match=told) as error:
            learner.observe(*wrong)
        assert "\n" not in str(error.value)
    assert learner.observe(np.float64(1), np.bool_(False), False, zeros.tolist()) is False
    with pytest.raises(OperantError, match="NEXT_STEP"):
        operant.Learner(ppo, several(cartpole, 2, AutoresetMode.NEXT_STEP))
    with pytest.raises(OperantError, match="time limit"):
        operant.Learner(REINFORCE(), Spec(cartpole().observation_space, cartpole().action_space, 1))
