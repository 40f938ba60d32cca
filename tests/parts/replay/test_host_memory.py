"""Replays in the host's memory: the same learning as with those on the device, which holds nothing of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import operant
from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.core.runs import checkpoint
from operant.environments import make
from operant.errors import OperantError
from operant.parts.networks import GRU, MLP
from operant.parts.replay import Prioritised, Uniform, Whole
from operant.parts.replay.host_memory import outlined

FIELDS = {"num_steps": 5, "warmup": 40, "batch_size": 16, "target_every": 30, "num_updates": 2, "network": MLP((8,))}
HOST = Whole("host")


def driver(replay, kind=DQN, **fields):
    return HostDriver(kind(replay=replay, **FIELDS | fields), make("CartPole-v1", 2, "gymnasium"))


def rows_of(carry):
    """The rows of a replay, by their dtype."""
    return getattr(carry.state.replay, "ring", carry.state.replay).data


MEMORY = {"kind": DRQN, "network": GRU(4, (4,)), "burn_in": 2}
CASES = [
    pytest.param(Uniform, {}, id="uniform"),
    pytest.param(Prioritised, {"n_step": 3}, id="prioritised-3"),
    pytest.param(Prioritised, MEMORY, id="drqn", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "fields"), CASES)
def test_learning_is_that_from_a_replay_on_the_device(kind, fields):
    found = []
    for memory in ("device", "host"):
        learner = driver(kind(120, storage=Whole(memory)), **fields)
        carry = learner.advance(learner.start(0), 0, 60, 80)
        # What would be drawn next, and what is read of it.
        algorithm, spec = learner.members[0], learner.spec
        index = np.asarray(algorithm.replay.draw(outlined(carry.state.replay), jax.random.key(7), 16, 0.5).index)
        read = lambda state, index, a=algorithm, s=spec: a._read(state, index, s)  # noqa: E731
        read = read if memory == "host" else jax.jit(read)
        found.append((carry, (rows_of(carry), index, read(carry.state.replay, index))))
    (on_device, known), (on_host, told) = found
    # Rows follow the actions, and draws the priorities: all are the same, but for memories, which the parameters made.
    near = 1e-6 if fields is MEMORY else 0
    for a, b in zip(jax.tree.leaves(known), jax.tree.leaves(told), strict=True):
        assert type(b) is np.ndarray and a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a), b, rtol=near, atol=near)
    # The parameters nearly so: of an update in a program of its own XLA may round other operations together.
    assert int(on_host.totals["loss"].count) == 60 - 40 // 10
    for name in ("policy", "target", "optimiser"):
        for a, b in zip(*(jax.tree.leaves(getattr(each.state, name)) for each in (on_device, on_host)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(*(jax.tree.leaves((each.totals, each.health)) for each in (on_device, on_host)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    """As it does from memory: Gymnasium's environments start anew in both."""
    learner = driver(Prioritised(120, storage=HOST))
    carry = learner.advance(learner.start(0), 0, 30, 80)
    kept, _ = checkpoint.load(checkpoint.save(tmp_path, "30", carry, {}), learner.template())
    assert all(type(array) is np.ndarray for array in rows_of(kept).values())
    states = []
    for each in (carry, kept):
        learner.start(0)  # so that the environments start anew
        states.append(learner.advance(each, 30, 30, 80).state)
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("num_seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_runs_are_resumed_and_exported(num_seeds, tmp_path):
    given = {"steps": 300, "num_envs": 2, "backend": "gymnasium", "num_seeds": num_seeds, "progress": "none"}
    algorithm = DQN(replay=Uniform(120, HOST), **FIELDS)
    stop = lambda progress: progress.steps >= 100  # noqa: E731
    operant.train(algorithm, "CartPole-v1", out=tmp_path / "run", callback=stop, **given)
    agents = operant.resume(tmp_path / "run", progress="none")
    agent = agents if num_seeds == 1 else agents[1]
    assert agent.algorithm == algorithm and agent.history[-1]["steps"] == 300
    data = operant.Dataset.load(operant.export_replay(tmp_path / "run", tmp_path / "data"))
    assert data.rows == 120 * num_seeds and (data.observation[:, 0] != 0).all()


def test_nothing_of_the_rows_is_on_the_device():
    learner = driver(Uniform(123_450, HOST))
    before = {id(array) for array in jax.live_arrays()}
    carry = learner.start(0)
    rows = rows_of(carry)
    carry = learner.advance(carry, 0, 20, 80)
    assert all(type(array) is np.ndarray and rows_of(carry)[dtype] is array for dtype, array in rows.items())
    assert rows["float32"][:20].any() and not rows["float32"][20:].any()
    new = [array.nbytes for array in jax.live_arrays() if id(array) not in before]
    assert sum(new) < sum(array.nbytes for array in rows.values()) / 10


def test_one_program_does_not_reach_it():
    algorithm = DQN(replay=Uniform(120, HOST), **FIELDS)
    with pytest.raises(OperantError, match="train on the gymnasium backend"):
        CompiledDriver(algorithm, make("CartPole-v1"), 2)
    state = Uniform(120, HOST).init(jnp.zeros(3), 4)
    with pytest.raises(OperantError, match="between programs"):
        jax.jit(Uniform(120, HOST).rows)(state, jnp.arange(3))
    with pytest.raises(OperantError, match="memory must be one of device, host"):
        Uniform(120, Whole("hots")).init(jnp.zeros(3), 4)


def test_a_learner_that_diverges_keeps_its_last_good_policy():
    learner = driver(Uniform(120, HOST), learning_rate=1e30)
    carry = learner.advance(learner.start(0), 0, 20, 80)
    assert (np.asarray(carry.health.fault) >= 0).any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(carry.state.policy))
