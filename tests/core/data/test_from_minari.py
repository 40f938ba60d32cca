"""Minari's datasets, written by its own library and read through it."""

import sys
import warnings

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

import operant
from operant.core.data.sources import find
from operant.errors import OperantError
from operant.parts.networks import MLP

LENGTHS, ENDS = (5, 7, 4), ("terminated", "truncated", "cut")  # the third was recorded to no end
SPACES = {
    "plain": (Box(-np.inf, np.inf, (4,), np.float32), Discrete(2)),
    "shifted": (Dict({"goal": Box(-1, 1, (2,), np.float64), "seen": Discrete(3)}), Discrete(3, start=5)),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Three episodes of each kind, as `minari` keeps them; what was written, by name."""
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    from minari.data_collector import EpisodeBuffer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        patch.setattr("minari.storage.hosting.download_dataset", lambda *given, **told: pytest.fail("downloads"))
        written = {}
        for name, (seen, done) in SPACES.items():
            episodes = []
            for number, (length, end) in enumerate(zip(LENGTHS, ENDS, strict=True)):
                seen.seed(number)
                observations = [seen.sample() for _ in range(length + 1)]
                if isinstance(seen, Dict):
                    observations = {key: np.stack([each[key] for each in observations]) for key in seen}
                else:
                    observations = np.stack(observations)
                last = np.arange(length) == length - 1
                done.seed(number)
                actions = np.array([done.sample() for _ in range(length)])
                ends = [last & (end == kind) for kind in ("terminated", "truncated")]
                episodes.append((observations, actions, np.arange(length) + 0.5, *ends))
            parts = ("observations", "actions", "rewards", "terminations", "truncations")
            buffers = [EpisodeBuffer(id=k, **dict(zip(parts, each, strict=True))) for k, each in enumerate(episodes)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that nobody is named as the author, and the like
                minari.create_dataset_from_buffers(
                    f"test/{name}-v0", buffers, observation_space=seen, action_space=done, data_format="hdf5"
                )
            written[name] = episodes
        yield written


def test_every_transition_is_there(installed):
    data, episodes = find("minari:test/plain-v0"), installed["plain"]
    assert (data.observation_space, data.action_space) == SPACES["plain"] and data.rows == sum(LENGTHS)
    np.testing.assert_array_equal(data.observation, np.concatenate([each[0][:-1] for each in episodes]))
    np.testing.assert_array_equal(data.next_observation, np.concatenate([each[0][1:] for each in episodes]))
    np.testing.assert_array_equal(data.action, np.concatenate([each[1] for each in episodes]))
    np.testing.assert_array_equal(data.reward, np.concatenate([each[2] for each in episodes]))
    np.testing.assert_array_equal(np.flatnonzero(data.terminated), [4])
    np.testing.assert_array_equal(np.flatnonzero(data.truncated), [11, 15])
    assert data.digest() == find("minari:test/plain-v0").digest()


def test_structured_observations_and_shifted_actions(installed):
    data, episodes = find("minari:test/shifted-v0"), installed["shifted"]
    goal = np.concatenate([each[0]["goal"][1:] for each in episodes])
    np.testing.assert_array_equal(data.next_observation["goal"], np.float32(goal))
    assert data.next_observation["seen"].dtype == np.int32 and data.action.min() >= 5
    assert data.window().steps.action.min() >= 0


def test_a_run_learns_from_it_and_finds_it_again(installed, tmp_path):
    fields = {"network": MLP((4,)), "batch_size": 4, "progress": "none", "log": ()}
    operant.train("cql", "CartPole-v1", dataset="minari:test/plain-v0", steps=5, out=tmp_path / "run", **fields)
    agent = operant.resume(tmp_path / "run", steps=10, progress="none")
    assert agent.description["dataset"]["source"] == "minari:test/plain-v0" and agent.outcome.progress.steps == 10


def test_what_is_not_there_is_one_line_and_is_not_downloaded(installed):
    for name in ("test/other-v0", "nonsense"):
        with pytest.raises(OperantError, match=f"minari:{name} cannot be read.*minari download {name}") as error:
            find(f"minari:{name}")
        assert "\n" not in str(error.value)


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(OperantError, match=r"needs Minari .*pip install 'operant\[offline\]'") as error:
        operant.train("cql", "CartPole-v1", dataset="minari:test/plain-v0", progress="none")
    assert "\n" not in str(error.value)
