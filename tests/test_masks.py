"""Action masks from end to end: what is illegal is never done, whoever learns and wherever the policy acts."""

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

import operant
from operant.catalogue import RAINBOW
from operant.contracts import Spec
from operant.core.showing import episodes
from operant.errors import DivergedError, OperantError
from operant.parts.networks import GRU, MLP, Dueling, Noisy
from operant.parts.values.bootstraps import Munchausen
from tests.probes import Probe
from tests.worlds import Picky

NET = MLP((8,))
MASKED = Dict({"cue": Box(-1.0, 1.0, (1,), np.float32), "action_mask": Box(0, 1, (4,), np.int8)})


class Tempting(Probe):
    """Pays 1 for the legal action that the cue asks for, and 10 for the two that are illegal."""

    def observation_space(self, params):
        return MASKED

    def action_space(self, params):
        return Discrete(4)

    def observe(self, world):
        return {"cue": world.cue[None], "action_mask": jnp.array([1, 0, 1, 0], jnp.int8)}

    def pay(self, world, action):
        asked = jnp.where(world.cue > 0, 2, 0)
        return jnp.where(action % 2 == 1, 10.0, jnp.float32(action == asked))


class Unmasked(Tempting):
    def observation_space(self, params):
        return MASKED["cue"]

    def observe(self, world):
        return super().observe(world)["cue"]


class Blocked(Tempting):
    """The mask allows nothing, with the cue of one side."""

    def observe(self, world):
        mask = jnp.where(world.cue > 0, 0, jnp.ones(4, jnp.int8))
        return {"cue": world.cue[None], "action_mask": jnp.int8(mask)}


class Double(Tempting):
    """Two choices; the first action of the second is illegal."""

    def observation_space(self, params):
        return Dict({"cue": MASKED["cue"], "action_mask": Box(0, 1, (5,), np.int8)})

    def action_space(self, params):
        return MultiDiscrete([3, 2])

    def observe(self, world):
        return {"cue": world.cue[None], "action_mask": jnp.array([1, 0, 1, 0, 1], jnp.int8)}

    def pay(self, world, action):
        asked = jnp.where(world.cue > 0, 2, 0)
        return jnp.where((action[0] == 1) | (action[1] == 0), 10.0, jnp.float32(action[0] == asked))


LEARNERS = {
    "ppo": (operant.PPO(num_steps=16, network=NET), {}),
    "a2c": (operant.A2C(learning_rate=1e-2, network=NET), {}),
    "trpo": (operant.TRPO(num_steps=32, network=NET), {}),
    "vpg": (operant.VPG(num_steps=32, network=NET), {}),
    "reinforce": (operant.REINFORCE(learning_rate=2e-2, network=NET), {"steps": 4_000}),
}
REPLAY = {"learning_rate": 5e-3, "network": NET, "warmup": 400, "num_updates": 4}
ATOMS = {"v_min": -2.0, "v_max": 12.0}
VALUES = {
    "dqn": (operant.DQN(**REPLAY, bootstrap=Munchausen()), {"steps": 4_000}),
    "c51": (operant.C51(**REPLAY, **ATOMS), {}),
    "rainbow": (operant.C51(**REPLAY | RAINBOW | ATOMS | {"network": Noisy(Dueling(NET))}), {}),
    "qr-dqn": (operant.QRDQN(**REPLAY), {}),
    "iqn": (operant.IQN(**REPLAY), {}),
    "cql": (operant.CQL(**REPLAY), {}),
    "drqn": (operant.DRQN(learning_rate=5e-3, network=GRU(8), warmup=400), {}),
    "deep-sarsa": (operant.DeepSARSA(learning_rate=1e-2, network=NET), {}),
    "deep-mc": (operant.DeepMC(learning_rate=1e-2, network=NET), {}),
    "pqn": (operant.PQN(learning_rate=1e-2), {}),
}
ALL = LEARNERS | VALUES


def learned(algorithm, environment, steps=8_000):
    return operant.train(algorithm, environment, steps=steps, num_envs=8, progress="none")


@pytest.mark.parametrize(
    "name", ["ppo", "dqn", *(pytest.param(name, marks=pytest.mark.slow) for name in ALL if name not in ("ppo", "dqn"))]
)
def test_what_pays_most_is_not_done_where_it_is_illegal(name):
    algorithm, fields = ALL[name]
    agent = learned(algorithm, Tempting(), **fields)
    returns = [row["episode_return"] for row in agent.history]
    assert max(returns) <= 1.0 and agent.evaluate(50).mean == 1.0
    if name in VALUES:
        return
    assert all(np.isfinite(row["entropy"]) and row["entropy"] <= np.log(2) + 1e-5 for row in agent.history)


@pytest.mark.slow
def test_without_the_mask_it_would_be_done_and_with_two_choices_neither_is():
    assert learned(LEARNERS["ppo"][0], Unmasked()).evaluate(50).mean == 10.0
    agent = learned(LEARNERS["ppo"][0], Double())
    assert max(row["episode_return"] for row in agent.history) <= 1.0 and agent.evaluate(50).mean == 1.0


def test_a_mask_that_allows_nothing_stops_a_compiled_run_with_the_reason():
    with pytest.raises(DivergedError, match="an action_mask allowed no action"):
        learned(LEARNERS["a2c"][0], Blocked(), steps=400)


@pytest.fixture(scope="module", params=["ppo", "dqn"])
def picky(request):
    """An agent of an environment that tells its masks in the info, and raises where an action is illegal."""
    algorithm = ALL[request.param][0]
    return operant.train(algorithm, Picky, steps=2_000, num_envs=4, progress="none")


def test_masks_of_the_info_serve_training_and_evaluation(picky, tmp_path):
    assert set(picky.observation_space.spaces) == {"observation", "action_mask"}
    assert picky.evaluate(20, environment=Picky).mean > 4.0  # at random it is 2.5
    picky.save(tmp_path / "agent")
    again = operant.load(tmp_path / "agent")
    assert again.evaluate(20, environment=Picky, explore=True).episodes >= 20
    moments = list(episodes._play(picky, lambda render_mode: Picky(), 0))
    assert len(moments) == 6
    assert operant.train(operant.Random(), Picky, steps=200, num_envs=2, progress="none").evaluate(5, environment=Picky)


def test_an_agent_and_its_numpy_policy_keep_to_the_mask(picky):
    policy, rng = picky.to_numpy(), np.random.default_rng(0)
    mask = rng.integers(0, 2, (50, 4)).astype(np.int8)
    mask[np.arange(50), rng.integers(4, size=50)] = 1
    seen = rng.uniform(-1, 1, (50, 2)).astype(np.float32)
    for k in range(50):
        observation = {"observation": seen[k], "action_mask": mask[k]}
        action = policy.act(observation)
        assert mask[k, action] and action == picky.act(observation) and mask[k, picky.act(observation, explore=True)]
    assert len({int(np.argmax(m)) for m in mask}) > 1
    with pytest.raises(OperantError, match="allows no action"):
        picky.act({"observation": seen[0], "action_mask": np.zeros(4, np.int8)})


def test_who_does_not_know_masks_is_refused(tmp_path):
    @operant.component
    class Ignorant(operant.Random):
        masks = False

    with pytest.raises(OperantError, match="QLearning does not honour the action_mask of Tempting"):
        operant.train("q-learning", Tempting(), steps=100, progress="none")
    with pytest.raises(OperantError, match="Ignorant does not honour the action_mask of Tempting"):
        operant.train(Ignorant(), Tempting(), steps=100, out=tmp_path / "run", progress="none")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OperantError, match="DPG does not honour the action_mask of the environment"):
        operant.Learner("dpg", Spec(MASKED, Box(-1.0, 1.0, (4,)), 1))


@pytest.mark.slow
def test_log_probabilities_that_are_remembered_are_those_of_the_masked_policy():
    algorithm = operant.PPO(num_steps=4, num_minibatches=1, num_epochs=1, network=NET)
    history = operant.train(algorithm, Tempting(), steps=320, num_envs=8, progress="none").history
    assert all(abs(row["approximate_kl"]) < 1e-9 for row in history)  # one update a window: the ratio is one
