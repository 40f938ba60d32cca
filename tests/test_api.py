"""The public face: what users call, and what they are told when they call it wrongly."""

import gymnasium
import numpy as np
import pytest

import operant
from operant.algorithms.policy.ppo import PPO
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP

FIELDS = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 1, "network": MLP((8,))}


@pytest.fixture(scope="module")
def agent():
    return operant.train("ppo", "CartPole-v1", steps=512, progress="none", **FIELDS)


@pytest.fixture(scope="module")
def agents():
    return operant.train("ppo", "CartPole-v1", steps=512, num_seeds=3, progress="none", **FIELDS)


def test_one_observation_or_a_batch(agent):
    one = agent.act(np.zeros(4))
    many = agent.act(np.zeros((5, 4), np.float32))
    assert one.shape == () and many.shape == (5,) and one.dtype == many.dtype == np.int32
    assert (many == one).all()
    with pytest.raises(OperantError, match="does not fit"):
        agent.act(np.zeros(3))


def test_greedy_unless_asked_to_explore(agent):
    observation = np.zeros((200, 4), np.float32)
    assert len(np.unique(agent.act(observation))) == 1
    assert len(np.unique(agent.act(observation, explore=True))) == 2


def test_actions_are_in_the_environments_units():
    agent = operant.train("ppo", "Pendulum-v1", steps=512, backend="gymnasium", progress="none", **FIELDS)
    environment = gymnasium.make("Pendulum-v1")
    observation, _ = environment.reset(seed=0)
    actions = agent.act(np.stack([observation] * 100), explore=True)
    assert actions.shape == (100, 1) and actions.dtype == np.float32
    assert all(environment.action_space.contains(action) for action in actions)
    assert np.abs(actions).max() > 1.0  # the unit box was stretched
    environment.step(agent.act(observation))


def test_save_and_load(agent, agents, tmp_path):
    observation = np.random.default_rng(0).normal(size=(50, 4))
    agent.save(tmp_path / "one")
    np.testing.assert_array_equal(operant.load(tmp_path / "one").act(observation), agent.act(observation))
    agents[2].save(tmp_path / "third")
    loaded = operant.load(tmp_path / "third")
    np.testing.assert_array_equal(loaded.act(observation), agents[2].act(observation))
    assert loaded.evaluate(20).mean == agents[2].evaluate(20).mean
    with pytest.raises(OperantError, match="not empty"):
        agent.save(tmp_path / "one")


def test_several_seeds_come_back_as_agents(agents):
    assert len(agents) == 3 and [agent.description["seeds"] for agent in agents] == [[0], [1], [2]]
    result = agents.evaluate(30)
    means = [agent.evaluate(30).mean for agent in agents]
    np.testing.assert_allclose(result.returns, means, rtol=1e-5)
    assert agents.best is agents[int(np.argmax(means))]


def test_a_policy_with_memory_remembers_until_it_is_reset():
    fields = FIELDS | {"network": GRU(8, (8,))}
    agent = operant.train("ppo", "CartPole-v1", steps=512, progress="none", **fields)
    rows = np.random.default_rng(1).normal(size=(6, 4))

    def logits():
        agent.reset()
        [agent.act(row) for row in rows]
        return np.asarray(agent._memory[1])

    agent.reset()
    kept, memory = [], agent.start()
    for row in rows:  # in the caller's hands, and nothing else is touched
        action, memory = agent.act(row, memory)
        kept.append(action)
    assert agent._memory is None
    np.testing.assert_array_equal(kept, [agent.act(row) for row in rows])
    np.testing.assert_array_equal(memory, agent._memory[1])
    assert agent.act(rows, agent.start(6))[1].shape == (6, 8)
    with pytest.raises(OperantError, match=r"agent.start\(6\) makes it"):
        agent.act(rows, agent.start(5))

    first = logits()
    np.testing.assert_array_equal(first, logits())
    agent.act(rows[0])
    assert not np.array_equal(first, agent._memory[1])


def test_an_own_environment_by_class_factory_and_instance():
    from tests.core.test_training import Calm

    for environment in (Calm, lambda: Calm(), Calm()):
        count = None if isinstance(environment, gymnasium.Env) else 2
        algorithm = PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((8,)))
        agent = operant.train(algorithm, environment, steps=64, num_envs=count, progress="none")
        assert agent.description["num_envs"] == (count or 1)
        assert agent.evaluate(2, environment=Calm).mean == 10.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "pp0"}, "did you mean 'ppo'"),
        ({"environment": "CartPol-v1"}, "did you mean 'CartPole-v1'"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 10.5}, "steps must be"),
        ({"num_envs": -1}, "num_envs must be"),
        ({"num_seeds": 0}, "num_seeds must be"),
        ({"seed": -1}, "seed must be"),
        ({"backend": "tpu"}, "unknown backend"),
        ({"learning_rat": 1e-3}, "did you mean 'learning_rate'"),
        ({"num_minibatches": 3}, "cannot be cut"),
        ({"algorithm": "dqn", "environment": "Pendulum-v1"}, "Discrete"),
        ({"device": "tpu"}, "unknown device"),
        ({"preset": "best"}, "unknown preset"),
        ({"log": "tensorbord"}, "did you mean 'tensorboard'"),
        ({"log": "wandb"}, "operant\\[wandb\\]"),
        ({"stop_at": "high"}, "stop_at must be a number"),
        ({"stop_at": 1.0, "evaluate_every": 0}, "stop_at needs evaluations"),
        ({"evaluate_every": 1.5}, "evaluate_every must be"),
        ({"environment": 7}, "not an environment"),
        ({"algorithm": PPO(), "discount": 0.9}, "on the algorithm object"),
        ({"normalise": ("actions",)}, "cannot normalise"),
        ({"network": MLP((0,))}, "at least one unit"),
        ({"learning_rate": "fast"}, "learning_rate must be a finite number"),
        ({"discount": float("nan")}, "discount must be"),
        ({"num_epochs": 2.5}, "num_epochs must be a whole number"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_written(arguments, message, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(OperantError, match=message) as error:
        operant.train(**{"algorithm": "ppo", "environment": "CartPole-v1", "out": out, "progress": "none"} | arguments)
    assert "\n" not in str(error.value)
    assert not out.exists()


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OperantError, match="not empty"):
        operant.train("ppo", "CartPole-v1", out=tmp_path, progress="none")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_what_is_no_run_is_refused(tmp_path):
    for function in (operant.load, operant.resume):
        with pytest.raises(OperantError, match="no such folder"):
            function(tmp_path / "nothing")
        with pytest.raises(OperantError, match="is not a run"):
            function(tmp_path)


def test_a_process_that_is_told_to_end_saves_and_ends(tmp_path):
    import os
    import signal

    def callback(progress):
        if progress.steps >= 64:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stop:
        operant.train(
            "ppo", "CartPole-v1", steps=100_000, out=tmp_path / "run", callback=callback, progress="none", **FIELDS
        )
    assert stop.value.code == 143
    assert operant.load(tmp_path / "run").act(np.zeros(4)) in (0, 1)


LOADER = """
import sys
for absent in ("gymnax", "tests"):
    sys.modules[absent] = None  # importing it raises ImportError
import numpy as np, jax, operant
assert len(jax.devices()) == 3 and jax.config.jax_enable_x64
agent = operant.load(sys.argv[1])
np.save(sys.argv[2], agent.act(np.load(sys.argv[3])))
"""


def test_loaded_without_gymnax_or_the_environments_module_on_other_devices_and_dtypes(tmp_path):
    import os
    import subprocess
    import sys

    from tests.core.test_training import Calm

    algorithm = PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=GRU(8, (8,)))
    agent = operant.train(algorithm, Calm, steps=64, num_envs=2, out=tmp_path / "run", progress="none")
    observation = np.stack([agent.observation_space.sample() for _ in range(40)])
    np.save(tmp_path / "seen.npy", observation)
    settings = {"JAX_NUM_CPU_DEVICES": "3", "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-c", LOADER, *(str(tmp_path / name) for name in ("run", "acted.npy", "seen.npy"))]
    subprocess.run(command, env=os.environ | settings, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "acted.npy"), agent.act(observation))
