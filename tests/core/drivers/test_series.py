"""Several seeds on Gymnasium environments: one run, and each seed's bits are those that it has alone."""

import jax
import numpy as np
import pytest

import operant
from operant.core.runs import checkpoint
from operant.errors import OperantError
from operant.parts.networks import MLP
from tests.core.test_training import Calm, Fragile

TINY = operant.PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((8,)))
HOST = {"steps": 96, "num_envs": 2, "backend": "gymnasium", "progress": "none"}


def test_each_seed_is_as_it_is_alone(tmp_path):
    agents = operant.train(TINY, "CartPole-v1", num_seeds=2, seed=4, out=tmp_path / "run", **HOST)
    assert [agent.description["seeds"] for agent in agents] == [[4], [5]]
    for agent in agents:
        (seed,) = agent.description["seeds"]
        alone = operant.train(TINY, "CartPole-v1", seed=seed, **HOST)
        for x, y in zip(jax.tree.leaves(agent.policy), jax.tree.leaves(alone.policy), strict=True):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
        assert agent.history == alone.history
    loaded = operant.load(tmp_path / "run")
    for agent, again in zip(agents, loaded, strict=True):
        for x, y in zip(jax.tree.leaves(agent.policy), jax.tree.leaves(again.policy), strict=True):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    longer = operant.resume(tmp_path / "run", steps=192, progress="none")
    assert [agent.history[-1]["steps"] for agent in longer] == [192, 192]


def test_one_instance_is_not_several():
    with pytest.raises(OperantError, match="several seeds need environments of their own beside Calm"):
        operant.train(TINY, Calm(), steps=64, num_seeds=2, progress="none")


@pytest.mark.slow  # test_training.py has the same for one seed
def test_an_environment_that_raises_leaves_the_checkpoint_before(tmp_path):
    with pytest.raises(OperantError, match="gripper is stuck"):
        operant.train(TINY, Fragile, steps=160, num_envs=2, num_seeds=2, out=tmp_path / "run", progress="none")
    # 26 steps were taken, of windows of 8; a tenth of the run is one window.
    assert checkpoint.latest(tmp_path / "run" / "checkpoints")[0] == f"{3 * 8 * 2:015d}"
    operant.resume(tmp_path / "run", environment=Calm, algorithm=TINY, progress="none")
