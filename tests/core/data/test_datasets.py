"""Datasets: what is written is what is read, and what was damaged or never was one is one line."""

import json
import shutil
from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Text, Tuple

import operant
from operant.cli import main
from operant.core.data.behaviour import Behaviour, record
from operant.core.data.datasets import COLUMNS, Dataset
from operant.core.drivers.offline import OfflineDriver
from operant.core.runs import checkpoint, manifest
from operant.environments import Compiled, Host, make
from operant.errors import OperantError
from operant.parts.component import strong
from operant.parts.networks import MLP
from operant.parts.replay import Frames, Prioritised, Uniform
from tests.probes import Truncation, as_gymnasium

ROWS = 12
SPACES = {
    "box": Box(-1, 1, (3,)),
    "image": Box(0, 255, (6, 5, 2), np.uint8),
    "number": Discrete(5, start=2),
    "parts": Dict({"goal": Box(-2, 2, (2,)), "seen": Tuple([Discrete(3), MultiBinary(4)])}),
}


def sampled(space, rng, rows=ROWS):
    """Rows of `space`, as trees of arrays."""
    if isinstance(space, Dict):
        return {name: sampled(part, rng, rows) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(sampled(part, rng, rows) for part in space.spaces)
    space.seed(int(rng.integers(1000)))
    return np.stack([space.sample() for _ in range(rows)])


def dataset(space=SPACES["box"], **changes):
    rng = np.random.default_rng(0)
    terminated = np.arange(ROWS) % 5 == 4
    columns = {
        "observation": sampled(space, rng), "action": rng.integers(-1, 3, ROWS), "reward": rng.normal(size=ROWS),
        "terminated": terminated, "truncated": ~terminated & (np.arange(ROWS) % 7 == 6),
        "next_observation": sampled(space, rng),
    }  # fmt: skip
    return Dataset(space, Discrete(4, start=-1), **columns | changes)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_written_is_read(name, tmp_path):
    data = dataset(SPACES[name])
    data = Dataset(data.observation_space, data.action_space, about={"from": "here"}, **data.columns)
    again = Dataset.load(data.save(tmp_path / "data"))
    assert again.observation_space == data.observation_space and again.action_space == data.action_space
    assert again.about == {"from": "here"} and again.digest() == data.digest()
    for one, other in zip(jax.tree.leaves(data.columns), jax.tree.leaves(again.columns), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert not [file for file in (tmp_path / "data").rglob("*") if file.suffix not in ("", ".json", ".safetensors")]


def test_a_window_is_one_stream_in_a_learners_units_that_ends():
    data = dataset()
    window = data.window()
    np.testing.assert_array_equal(window.steps.action[:, 0], data.action + 1)
    assert window.steps.observation.shape == (ROWS, 1, 3) and window.steps.last[-1, 0] and not data.truncated[-1]
    np.testing.assert_array_equal(window.steps.truncated[:-1, 0], data.truncated[:-1])


def test_it_is_described_in_a_line():
    assert repr(dataset()) == "Dataset(12 rows: observes float32[3]; actions 4 numbers from -1)"


def test_another_row_is_another_digest():
    data = dataset()
    for name, column in data.columns.items():
        changed = column.copy()
        changed[3] = ~changed[3] if changed.dtype == bool else changed[3] * 0.5 if changed.dtype != np.int32 else 1
        assert (
            Dataset(data.observation_space, data.action_space, **data.columns | {name: changed}).digest()
            != data.digest()
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward": np.full(ROWS, np.nan)}, "reward is not finite"),
        ({"reward": np.zeros(0)}, "at least one transition"),
        ({"reward": np.zeros(ROWS - 1)}, "does not fit its spaces and its 11 rewards"),
        ({"observation": np.zeros((ROWS, 4))}, "observation does not fit"),
        ({"next_observation": {"a": np.zeros((ROWS, 3))}}, "next_observation does not fit"),
        ({"action": np.full(ROWS, 3)}, "actions that are not among -1 to 2"),
        ({"action": np.full(ROWS, 0.5)}, "action does not fit"),
        ({"terminated": np.zeros(ROWS)}, r"terminated does not fit.*: float64\[12\], not bool\[12\]"),
        ({"reward": [[0.0], *[1.0] * (ROWS - 1)]}, "reward does not fit.*: list, not float32"),
        ({"reward": None}, "at least one transition"),
        ({"truncated": np.full(ROWS, 2, np.uint8).view(bool)}, "truncated has flags that are neither 0 nor 1"),
        ({"space": MultiBinary(2), "observation": np.full((ROWS, 2), 2, np.int8)}, "observations that are not among 0"),
        ({"action": np.full(ROWS, 2**32)}, "action has numbers that int32 cannot hold"),
        ({"space": SPACES["number"], "observation": np.full(ROWS, 7)}, "observations that are not among 2 to 6"),
        ({"space": SPACES["parts"], "next_observation": {"goal": np.zeros((ROWS, 2)), "seen":
            (np.full(ROWS, -1), np.zeros((ROWS, 4), np.int8))}}, "next observations that are not among 0 to 2"),
        ({"space": Text(3), "observation": np.zeros(ROWS), "next_observation": np.zeros(ROWS)}, "Text are not served"),
        ({"reward": np.full(ROWS, 1e300)}, "reward is not finite"),
        ({"observation": np.full((ROWS, 3), "a")}, "observation does not fit"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit(changes, words):
    with pytest.raises(OperantError, match=words) as error:
        dataset(**changes)
    assert "\n" not in str(error.value)


def damaged(folder, how):
    where = folder / str(ROWS)
    file, (tensors,) = where / "manifest.json", where.glob("*.safetensors")
    described = manifest.read(where)

    def told(**changes):
        described["description"].update(changes)
        parts = (described[key] for key in ("files", "leaves", "description"))
        file.write_bytes(manifest.seal(file, *parts))

    content = bytearray(tensors.read_bytes())
    content[-3] ^= 1
    {
        "flipped": lambda: tensors.write_bytes(content),
        "cut": lambda: tensors.write_bytes(content[:50]),
        "gone": tensors.unlink,
        "no manifest": file.unlink,
        "torn": lambda: file.write_bytes(file.read_bytes()[:-20]),
        "empty": lambda: shutil.rmtree(where),
        "a checkpoint": lambda: told(dataset=None),
        "huge": lambda: told(rows=2**31 - 1),
        "wrong rows": lambda: told(rows="many"),
        "endless spaces": lambda: told(observation_space={"multi_binary": {"n": 10**15}}),
        "odd spaces": lambda: told(observation_space={"box": {"low": []}}),
        "others": lambda: told(observation_space={"discrete": {"n": 3, "start": 0}}),
    }[how]()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("flipped", "does not match its hash"), ("cut", "damaged"), ("gone", "cannot be read"),
        ("no manifest", "cannot be read"), ("torn", "damaged"), ("empty", "is no dataset"),
        ("a checkpoint", "not the description of a dataset"), ("huge", "was expected"),
        ("wrong rows", "not the description of a dataset"), ("odd spaces", "stored space cannot be read"),
        ("others", "leaf"), ("endless spaces", "stored space cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_dataset_is_one_line(how, words, tmp_path):
    folder = dataset().save(tmp_path / "data")
    damaged(folder, how)
    with pytest.raises(OperantError, match=words) as error:
        Dataset.load(folder)
    assert "\n" not in str(error.value)


def test_other_folders_are_refused(tmp_path):
    data = dataset()
    data.save(tmp_path / "data")
    with pytest.raises(OperantError, match="is not empty"):
        data.save(tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(OperantError, match="is a run: operant export-dataset"):
        Dataset.load(tmp_path / "run")
    checkpoint.save(tmp_path / "other", "1", {"a": np.zeros(2)}, {})
    with pytest.raises(OperantError, match="not the description of a dataset"):
        Dataset.load(tmp_path / "other")


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fields = {"num_steps": 8, "num_minibatches": 2, "num_envs": 2, "steps": 64, "progress": "none", "log": ()}
    return operant.train("ppo", "CartPole-v1", out=out, num_seeds=2, **fields)


def test_every_transition_goes_on_from_the_one_before(agent, tmp_path):
    data = Dataset.load(operant.export_dataset(agent, tmp_path / "data", 333, epsilon=0.5, seed=4))
    last = data.terminated | data.truncated
    np.testing.assert_array_equal(data.next_observation[:-1][~last[:-1]], data.observation[1:][~last[:-1]])
    assert data.rows == 333 and last[-1] and data.terminated.sum() > 5
    # Episodes begin near the middle and end far from it: none was joined to another.
    begins = np.flatnonzero(last[:-1]) + 1
    assert (np.abs(data.observation[begins]) <= 0.05).all()
    fallen = np.abs(data.next_observation[data.terminated])
    assert ((fallen[:, 0] > 2.4) | (fallen[:, 2] > 0.2)).all()
    assert data.about["algorithm"] == "ppo" and data.about["epsilon"] == 0.5


def test_epsilon_is_the_share_of_random_actions(agent):
    world, member = make("CartPole-v1"), agent[0]

    def shares(epsilon, explores=False):
        other = operant.Random()
        behaviour = Behaviour(strong(member.algorithm), other, np.float32(epsilon), explores)
        data = record(behaviour, member.policy, world, 2_000, 0)
        return np.mean(data.action == member.act(data.observation)), data

    assert shares(0.0)[0] == 1.0
    half, data = shares(0.6)
    assert abs(half - 0.7) < 0.04  # half of the random ones are the greedy one too
    assert shares(0.6)[1].digest() == data.digest()
    assert 0.4 < shares(0.0, explores=True)[0] < 1.0


@operant.component
class Counting:
    """Remembers the time within the episode, and does 0 and 1 in turn."""

    def start(self, policy, key, spec):
        return jnp.zeros(spec.num_envs, jnp.int32)

    def act(self, policy, memory, observation, key, context, *, explore):
        return memory + 1, memory % 2, ()


@pytest.mark.parametrize("host", [False, True])
def test_memory_begins_anew_with_every_episode(host):
    world = Host([as_gymnasium(Truncation)] * 3) if host else Compiled(Truncation())
    data = record(Behaviour(Counting(), operant.Random(), np.float32(0), False), jnp.zeros(()), world, 50, 0)
    last, expected = data.terminated | data.truncated, []
    while len(expected) < 50:
        length = int(last[len(expected) :].argmax()) + 1
        assert length <= Truncation.length
        expected += [time % 2 for time in range(length)]
    np.testing.assert_array_equal(data.action, expected)
    assert data.truncated.all() == last.all() and last[-1] and last.sum() >= 10


def test_actions_are_in_the_environments_units():
    world = make("Pendulum-v1")
    data = record(Behaviour(operant.Random(), operant.Random(), np.float32(1), False), jnp.zeros(()), world, 200, 0)
    assert data.action.shape == (200, 1) and 1.5 < np.abs(data.action).max() <= 2.0
    with pytest.raises(OperantError, match="DQN needs Discrete actions"):
        OfflineDriver(operant.DQN(), data, world)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": 1}, "steps"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"epsilon": "x"}, "epsilon"),
    ],
)
def test_numbers_that_make_no_sense(agent, given, words, tmp_path):
    with pytest.raises(OperantError, match=words):
        operant.export_dataset(agent, tmp_path / "data", **{"steps": 10} | given)


class Four(Truncation):
    """Observes as much as CartPole, with an action more."""

    def observation_space(self, params=None):
        return Box(-np.inf, np.inf, (4,), np.float32)

    def action_space(self, params=None):
        return Discrete(3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Acrobot-v1", r"this agent observes float32\[4\], but Acrobot-v1 float32\[6\]"),
        (Four(), "actions are 2 numbers from 0, but those of .* 3 numbers from 0"),
    ],
)
def test_an_agent_plays_only_where_it_can(agent, name, words, tmp_path):
    for play in (
        lambda: agent.evaluate(episodes=2, environment=name),
        lambda: operant.export_dataset(agent, tmp_path / "data", 10, environment=name),
    ):
        with pytest.raises(OperantError, match=words):
            play()


def test_the_command_line_exports(agent, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = str(agent.folder)
    argv = ["export-dataset", run, "--steps", "60", "--out", "data", "--epsilon", "0.2", "--explore", "--json"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"out": "data", "steps": 60}
    assert "60 transitions in data" in err and "operant train cql CartPole-v1 --dataset data" in err
    continuous = operant.train("ppo", "Pendulum-v1", steps=256, num_envs=2, preset="none", progress="none", out="swing")
    assert main(["export-dataset", str(continuous.folder), "--steps", "20", "--out", "swung"]) == 0
    assert "operant train cql" not in capsys.readouterr().err  # it would be refused
    operant.train("random", "Taxi-v4", steps=64, num_envs=2, backend="gymnasium", progress="none", out="rode")
    assert main(["export-dataset", "rode", "--steps", "20", "--out", "rides"]) == 0
    assert "--dataset rides --backend gymnasium" in capsys.readouterr().err  # where its masks are
    assert Dataset.load("data").about["explore"] is True
    for wrong, words in ((argv, "is not empty"), (argv[:2], "--out is missing"), (["export-dataset", "no"], "--out")):
        assert main(wrong) == 2 and words in capsys.readouterr().err


class Logged(gymnasium.Env):
    """Sees numbers that never come twice, ends in either way, and keeps what happened."""

    observation_space, action_space = Box(0, np.inf, (2,)), Discrete(3, start=2)
    made: ClassVar[list] = []

    def __init__(self):
        self.log, self.time = [], 0
        self.made.append(self)

    def seen(self):
        return self.np_random.random(2, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.now, self.time = self.seen(), 0
        return self.now, {}

    def step(self, action):
        before, self.now, self.time = self.now, self.seen(), self.time + 1
        ends = self.time == 4 and action != 2, self.time == 4 and action == 2
        self.log.append((before, action, float(before[0]), *ends, self.now))
        return self.now, float(before[0]), *ends, {}


@pytest.mark.parametrize("replay", [Uniform(36), Prioritised(36)])
def test_a_replay_is_exported_as_it_happened(replay, tmp_path):
    Logged.made.clear()
    fields = {"network": MLP((4,)), "batch_size": 4, "num_steps": 3, "warmup": 20, "progress": "none", "log": ()}
    operant.train("dqn", Logged, num_envs=2, steps=120, replay=replay, out=tmp_path / "run", **fields)
    logs = [world.log for world in Logged.made if len(world.log) == 60]
    assert len(logs) == 2
    for steps, length in ((None, 18), (11, 5)):
        where = operant.export_replay(tmp_path / "run", tmp_path / f"data-{length}", steps, environment=Logged)
        data = Dataset.load(where)
        expected = [row for log in logs for row in log[-length:]]
        for name, column in zip(COLUMNS, zip(*expected, strict=True), strict=True):
            column = np.array(column)
            if name == "truncated":
                column[[length - 1, 2 * length - 1]] = ~np.array([row[3] for row in expected])[[length - 1, -1]]
            np.testing.assert_array_equal(getattr(data, name), column.astype(getattr(data, name).dtype), err_msg=name)
    assert data.about["replay"] is True


@pytest.mark.parametrize("replay", [Uniform(40, Frames(4)), Prioritised(40, storage=Frames(4))])
def test_frames_kept_once_are_exported_whole(replay, tmp_path):
    fields = {"network": MLP((4,)), "batch_size": 4, "num_steps": 5, "warmup": 1_000, "progress": "none", "log": ()}
    operant.train("dqn", Counted, num_envs=1, steps=30, replay=replay, out=tmp_path / "run", **fields)
    data = Dataset.load(operant.export_replay(tmp_path / "run", tmp_path / "data", environment=Counted))
    times = np.arange(30) % 6
    np.testing.assert_array_equal(data.observation[:, -1, 0], times)
    np.testing.assert_array_equal(data.observation[:, 0, 0], np.maximum(times - 3, 0))
    np.testing.assert_array_equal(data.terminated, times == 5)
    for steps in (0, -1):
        with pytest.raises(OperantError, match=f"steps must be at least 1, one of each environment, not {steps}"):
            operant.export_replay(tmp_path / "run", tmp_path / "none", steps, environment=Counted)


def test_cuts_that_cannot_be_seen_are_known_where_returns_have_several_steps(tmp_path):
    fields = {"network": MLP((4,)), "batch_size": 4, "num_steps": 5, "warmup": 1_000, "progress": "none", "log": ()}
    for n_step, cuts in ((1, 1), (2, 5)):
        run = {"replay": Uniform(40), "n_step": n_step, "out": tmp_path / f"run-{n_step}", "num_envs": 1, **fields}
        operant.train("dqn", Still, steps=30, **run)
        where = operant.export_replay(run["out"], tmp_path / f"data-{n_step}", environment=Still)
        assert Dataset.load(where).truncated.sum() == cuts


class Counted(gymnasium.Env):
    """Six steps an episode; each frame is its time, and the last four are seen."""

    observation_space, action_space = Box(0, 255, (4, 2), np.uint8), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen(), {}

    def step(self, action):
        self.time += 1
        return self.seen(), 0.0, self.time == 6, False, {}

    def seen(self):
        return np.stack([np.full(2, max(self.time - back, 0), np.uint8) for back in (3, 2, 1, 0)])


class Still(Counted):
    """Cut after six steps, in which nothing is seen to change."""

    def step(self, action):
        self.time += 1
        return self.seen(), 0.0, False, self.time == 6, {}

    def seen(self):
        return np.zeros((4, 2), np.uint8)


def test_a_run_without_a_replay_of_its_own_is_one_line(agent, tmp_path):
    with pytest.raises(OperantError, match="has no replay: ppo forgets what it has learned from"):
        operant.export_replay(agent.folder, tmp_path / "data")


def test_the_command_line_exports_a_replay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fields = {"network": MLP((4,)), "batch_size": 4, "warmup": 20, "replay": Uniform(50)}
    operant.train("dqn", "CartPole-v1", steps=100, preset="none", out="run", progress="none", log=(), **fields)
    assert main(["export-dataset", "run", "--replay", "--out", "data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": "data", "steps": 50}
    assert main(["export-dataset", "run", "--replay", "--out", "played", "--epsilon", "0.3"]) == 2
    assert "--replay plays nothing" in capsys.readouterr().err
    assert main(["export-dataset", "run", "--replay", "--steps", "20", "--out", "newest"]) == 0
    whole, newest = Dataset.load("data"), Dataset.load("newest")
    np.testing.assert_array_equal(whole.observation[-20:], newest.observation)
    last = whole.terminated | whole.truncated
    np.testing.assert_array_equal(whole.next_observation[:-1][~last[:-1]], whole.observation[1:][~last[:-1]])
    assert last[-1] and last.sum() < 10
