"""The offline driver: what is learned from a dataset, and that a run from one is a run like any other."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import operant
from operant.cli import main
from operant.contracts import Offline
from operant.core.data.datasets import Dataset
from operant.core.drivers.offline import OfflineDriver
from operant.core.runs import checkpoint
from operant.environments import Compiled, Host
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.replay import Frames, Prioritised, Uniform, Whole
from operant.parts.replay.transitions import minibatch, stretches
from tests.probes import ObservationAction, Truncation, as_gymnasium

DISCOUNT, ROWS = 0.9, 600
SMALL = {"learning_rate": 5e-3, "discount": DISCOUNT, "batch_size": 32, "target_every": 20, "network": MLP((16,))}


def of_probe(probe=Truncation, confused=False, rows=ROWS, seed=0):
    """Random actions in a probe, as they were recorded; `confused` takes a time limit for death."""
    rng, world = np.random.default_rng(seed), as_gymnasium(probe)()
    seen, following, done, paid, ends = [], [], [], [], []
    observation, _ = world.reset(seed=seed)
    for _ in range(rows):
        action = int(rng.integers(2))
        after, reward, terminated, truncated, _ = world.step(action)
        for column, value in zip((seen, following, done, paid), (observation, after, action, reward), strict=True):
            column.append(value)
        ends.append((terminated or (confused and truncated), truncated and not confused))
        observation = world.reset()[0] if terminated or truncated else after
    terminated, truncated = np.array(ends).T
    spaces = world.observation_space, world.action_space
    return Dataset(*spaces, np.array(seen), np.array(done), np.array(paid), terminated, truncated, np.array(following))


def trained(algorithm, data, probe=Truncation, steps=1_500):
    driver = OfflineDriver(algorithm, data, Compiled(probe()))
    carry = driver.advance(driver.start(0), 0, steps, steps)
    return jax.tree.map(lambda leaf: leaf[0], carry.state)


def value(algorithm, state):
    return float(algorithm._values(state.policy, jnp.zeros((1, 1))).max())


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_truncated_end_keeps_the_value_of_what_followed(n_step):
    algorithm = operant.DQN(n_step=n_step, **SMALL)
    state = trained(algorithm, of_probe())
    np.testing.assert_allclose(value(algorithm, state), 1 / (1 - DISCOUNT), rtol=0.05)
    # The deliberate mutation: at most five steps are worth anything then.
    assert value(algorithm, trained(algorithm, of_probe(confused=True))) < 4.2


def test_returns_of_several_steps_stay_within_their_episode():
    data = of_probe(rows=53)
    driver = OfflineDriver(operant.DQN(n_step=4, **SMALL), data, Compiled(Truncation()))
    replay, state = operant.DQN().offline(53).replay, driver.given
    index = jnp.arange(53)
    batch = minibatch(stretches(replay, state, index, 4, driver.spec), DISCOUNT, driver.spec)
    last = data.terminated | data.truncated
    last[-1] = True
    for row in range(53):
        end = min(row + 3, row + int(last[row:].argmax()))
        powers = DISCOUNT ** np.arange(end - row + 1)
        np.testing.assert_allclose(batch.reward[row], (powers * data.reward[row : end + 1]).sum(), rtol=1e-5)
        np.testing.assert_allclose(batch.discount[row], DISCOUNT ** (end - row + 1) * ~data.terminated[end], rtol=1e-5)
        np.testing.assert_array_equal(batch.following[row], data.next_observation[end])


class Stacked(Truncation):
    def observation_space(self, params):
        return Box(0, 255, (5, 6, 2), np.uint8)


@pytest.mark.parametrize("replay", [Uniform(500, Frames(2)), Prioritised(500, storage=Frames(2))])
def test_frames_kept_once_are_those_of_the_dataset(replay):
    rng = np.random.default_rng(0)
    last = np.arange(200) % 9 == 8
    terminated = last & (np.arange(200) % 2 == 0)
    frames = rng.integers(0, 256, (200 + 1, 5, 6), np.uint8)
    begins = np.append(True, last[:-1])[:, None, None]
    older = np.where(begins, 0, frames[:-1])
    newer = rng.integers(0, 256, (200, 5, 6), np.uint8)  # an observation, and after the end of an episode another
    seen = np.stack([older, frames[1:]], axis=-1)
    following = np.stack([frames[1:], np.append(frames[2:], newer[:1], axis=0)], axis=-1)
    following[last, ..., 1] = newer[last]
    space, done = Box(0, 255, (5, 6, 2), np.uint8), rng.integers(0, 2, 200)
    data = Dataset(space, Discrete(2), seen, done, np.ones(200), terminated, last & ~terminated, following)
    algorithm = operant.DQN(replay=replay, n_step=2, **SMALL)
    driver = OfflineDriver(algorithm, data, Compiled(Stacked()))
    rows = algorithm.offline(200).replay.rows(driver.given, jnp.arange(200))
    np.testing.assert_array_equal(rows.observation, data.observation)
    alive = ~terminated
    np.testing.assert_array_equal(rows.next_observation[alive], data.next_observation[alive])
    carry = driver.advance(driver.start(0), 0, 3, 3)
    assert not np.any(carry.health.bad) and "uint8" not in {str(leaf.dtype) for leaf in jax.tree.leaves(carry.state)}


def test_the_right_action_is_found_without_acting():
    algorithm = operant.DQN(**SMALL)
    state = trained(algorithm, of_probe(ObservationAction), ObservationAction)
    values = np.asarray(algorithm._values(state.policy, jnp.array([[-1.0], [1.0]])))
    data = of_probe(ObservationAction)
    for observation, row in zip((-1.0, 1.0), values, strict=True):
        paid = [data.reward[(data.observation[:, 0] == observation) & (data.action == a)].mean() for a in range(2)]
        np.testing.assert_allclose(row, paid, atol=0.05)


def test_chunks_of_any_length_give_the_same_bits():
    driver = OfflineDriver(operant.CQL(**SMALL), of_probe(), Compiled(Truncation()))
    whole = driver.advance(driver.start(3), 0, 60, 60)
    carry = driver.start(3)
    for first, last in ((0, 1), (1, 1), (1, 40), (40, 60)):
        carry = driver.advance(carry, first, last - first, 60)
    for one, other in zip(jax.tree.leaves(whole.state), jax.tree.leaves(carry.state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_seeds_share_the_dataset_and_nothing_else():
    several = OfflineDriver(operant.DQN(**SMALL), of_probe(), Compiled(Truncation()), num_seeds=2)
    carry = several.advance(several.start(5), 0, 5, 100)
    for seed in (0, 1):
        alone = OfflineDriver(operant.DQN(**SMALL), of_probe(), Compiled(Truncation()))
        own = alone.advance(alone.start(5 + seed), 0, 5, 100)
        for one, other in zip(jax.tree.leaves(carry.state.policy), jax.tree.leaves(own.state.policy), strict=True):
            np.testing.assert_allclose(one[seed], other[0], atol=1e-5)
    assert {leaf.shape[1] for leaf in several.given.data.values()} == {ROWS}


@pytest.mark.parametrize("replay", [None, Prioritised(500)], ids=["uniform", "prioritised"])
def test_the_dataset_is_in_no_carry_and_is_never_copied(replay):
    rows = 50_021  # a number of rows that nothing else in the program has
    one = of_probe(rows=53)
    columns = jax.tree.map(lambda leaf: np.resize(leaf, (rows, *leaf.shape[1:])), one.columns)
    data = Dataset(one.observation_space, one.action_space, **columns)
    algorithm = operant.DQN(n_step=2, **SMALL, **({} if replay is None else {"replay": replay}))
    driver = OfflineDriver(algorithm, data, Compiled(Truncation()))
    carry, ring = driver.start(0), sum(leaf.nbytes for leaf in jax.tree.leaves(driver.given))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(carry.state))
    assert ring >= rows * 20 and held < (ring / 2 if replay else ring / 20)
    times = jnp.int32(0), jnp.int32(1), jnp.float32(1)
    compiled = driver._advance.lower(driver.algorithm, carry, *times, driver.given).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < ring / 4


@operant.component
class Halved:
    """A storage of a user's own: it keeps rewards at half of what they are, beside a counter."""

    def init(self, example, capacity, block, streams):
        return {"rows": Whole().init(example, capacity, block, streams), "pushes": jnp.int32(0)}

    def push(self, state, batch):
        rows = Whole().push(state["rows"], batch._replace(reward=batch.reward / 2))
        return {"rows": rows, "pushes": state["pushes"] + 1}

    def rows(self, state, index):
        rows = Whole().rows(state["rows"], index)
        return rows._replace(reward=rows.reward * 2)

    def ring(self, state):
        return state["rows"]

    def spare(self, state):
        return 0

    def shared(self, state):
        return {"rows": True, "pushes": False}


@pytest.mark.parametrize("replay", [Uniform, Prioritised])
def test_a_storage_says_what_is_shared(replay):
    policies, held = [], []
    for storage in (Whole(), Halved()):
        algorithm = operant.DQN(replay=replay(500, storage=storage), **SMALL)
        driver = OfflineDriver(algorithm, of_probe(), Compiled(Truncation()))
        state = driver.advance(driver.start(0), 0, 5, 5).state
        policies.append(jax.tree.leaves(state.policy))
        held.append(sum(leaf.size for leaf in jax.tree.leaves(state.replay)))
    for one, other in zip(*policies, strict=True):
        np.testing.assert_array_equal(one, other)
    assert held[1] == held[0] + 1  # the counter


def test_a_dataset_takes_the_place_of_the_capacity():
    driver = OfflineDriver(operant.DQN(replay=Uniform(10), **SMALL), of_probe(rows=20), Compiled(Truncation()))
    carry = driver.advance(driver.start(0), 0, 5, 5)
    assert driver.given.blocks * driver.given.block == 20 and not np.any(carry.health.bad)


def test_a_run_is_described_resumed_bit_for_bit_and_bound_to_its_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_probe().save("data")
    fields = {"num_seeds": 2, "steps": 300, "evaluate_every": 100, "progress": "none", "log": (), **SMALL}
    fields |= {"replay": Prioritised(500), "n_step": 2, "environment": Truncation(), "dataset": "data"}
    whole = operant.train("cql", out="whole", **fields)
    assert whole[0].history[-1]["evaluation/mean"] == 5.0 and whole[0].description["num_envs"] == 1
    part = operant.train("cql", out="part", callback=lambda progress: progress.steps >= 100, **fields)
    assert part.outcome.iteration < 300
    told = json.loads((tmp_path / "part" / "run.json").read_text())["dataset"]
    assert told["source"] == str(tmp_path / "data") and told["rows"] == ROWS
    (tmp_path / "data").rename("moved")
    of_probe(seed=1).save("other")
    again = {"environment": Truncation(), "progress": "none"}
    moved = "data is no dataset.* if part's .* --dataset says where"
    for where, words in ((None, moved), ("other", "is not the dataset that part has learned from")):
        with pytest.raises(OperantError, match=words):
            operant.resume("part", dataset=where, **again)
    resumed = operant.resume("part", dataset="moved", **again)
    for one, other in zip(whole, resumed, strict=True):
        assert one.history == other.history
        for a, b in zip(jax.tree.leaves(one.policy), jax.tree.leaves(other.policy), strict=True):
            np.testing.assert_array_equal(a, b)
    newest = tmp_path / "part" / "checkpoints" / checkpoint.latest(tmp_path / "part" / "checkpoints")[0]
    assert "observation" not in (newest / "manifest.json").read_text()


def test_a_gymnasium_environment_only_tells_its_spaces():
    made = []

    class Counted(as_gymnasium(Truncation)):
        def step(self, action):
            made.append(action)
            return super().step(action)

    data = of_probe()
    driver = OfflineDriver(operant.DQN(**SMALL), data, Host([Counted] * 3))
    driver.advance(driver.start(0), 0, 5, 5)
    assert driver.spec.num_envs == 1 and not made


class Larger(Truncation):
    def action_space(self, params):
        return Discrete(4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"algorithm": "ppo"}, "PPO learns from its own actions, not from a dataset"),
        ({"algorithm": "a3c"}, "A3C learns from its own actions"),
        ({"algorithm": "pqn"}, "PQN learns from its own actions"),
        ({"algorithm": "sarsa"}, "SARSA learns from its own actions"),
        ({"num_envs": 4}, "num_envs means nothing with a dataset"),
        ({"environment": "CartPole-v1"}, r"the dataset observes float32\[1\], but CartPole-v1 float32\[4\]"),
        ({"environment": Larger()}, "actions are 2 numbers from 0, but those of Larger 4 numbers from 0"),
        ({"dataset": "nowhere"}, "nowhere is no dataset"),
        ({"replay": Uniform(500, Whole("host"))}, "does not reach: keep it in the device's$"),
        ({"dataset": of_probe(rows=20)}, "a dataset is named by its folder, or minari:ID, not Dataset: save it first"),
    ],
)
def test_what_cannot_be_learned_is_one_line(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_probe(rows=20).save("data")
    asked = {
        "algorithm": "dqn",
        "environment": Truncation(),
        "dataset": "data",
        "steps": 10,
        "progress": "none",
    } | given
    with pytest.raises(OperantError, match=words) as error:
        operant.train(**asked)
    assert "\n" not in str(error.value)


def test_the_command_line_learns_from_a_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng, spaces = np.random.default_rng(0), operant.make("CartPole-v1")
    observation = rng.normal(size=(65, 4)).astype(np.float32)
    ends = np.arange(64) % 16 == 15
    columns = observation[:-1], rng.integers(0, 2, 64), np.ones(64), ends, ~ends & False, observation[1:]
    Dataset(spaces.observation_space, spaces.action_space, *columns).save("data")
    short = ["--episodes", "2", "--no-gif", "--log", "none", "--json"]
    fields = ["--network.hidden", "8", "--batch-size", "8", "--steps", "20"]
    assert main(["train", "cql", "CartPole-v1", "--dataset", "data", "--out", "run", *fields, *short]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["steps"] == 20 and "64 transitions of" in err and "20 gradient steps" in err
    assert "preset" not in err
    assert main(["resume", "run", "--steps", "40", *short[:3], *short[-1:]]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 40
    assert main(["train", "ppo", "CartPole-v1", "--dataset", "data", "--out", "no"]) == 2
    assert "learns from its own actions" in capsys.readouterr().err
    assert main(["train", "dqn", "CartPole-v1", "--dataset", "data", "--num-envs", "4"]) == 2
    assert "--num-envs means nothing with --dataset" in capsys.readouterr().err
    (tmp_path / "again.json").write_text((tmp_path / "run" / "run.json").read_text())
    assert main(["train", "--config", "again.json", "--out", "second", "--steps", "20", *short]) == 0
    assert "64 transitions of" in capsys.readouterr().err


def test_who_can_learn_offline():
    from operant import catalogue

    able = {entry.name for entry in catalogue.ENTRIES if isinstance(entry.default(), Offline)}
    assert {"dqn", "c51", "qr-dqn", "iqn", "rainbow", "cql"} <= able
    assert not able & {"ppo", "a3c", "sarsa", "pqn", "random"}
