import json
import os
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest

from operant.core.runs.folder import RunFolder
from operant.errors import CheckpointError, OperantError

DESCRIPTION = {
    "algorithm": "ppo",
    "fields": {"discount": 0.99, "network": {"hidden": [64, 64]}},
    "environment": "CartPole-v1",
    "seeds": [0, 1],
    "steps": 200_000,
    "versions": {"jax": "0.7.0"},
    "preset": None,
}


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", "ppo", "CartPole-v1", 0)


def test_the_default_name_says_what_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = RunFolder.create(None, "ppo", "my_package:ALE/Pong-v5", 3)
    second = RunFolder.create(None, "ppo", "my_package:ALE/Pong-v5", 3)
    assert first.path.parent.name == "runs" and first.path.is_dir()
    assert first.path.name.startswith("ppo-my_package-ALE-Pong-v5-3-20")
    assert first.path != second.path
    assert list(first.path.iterdir()) == []


def test_an_own_folder_may_exist_but_must_be_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", "ppo", "x", 0).path == tmp_path / "empty"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    with pytest.raises(OperantError, match=r"full is not empty"):
        RunFolder.create(tmp_path / "full", "ppo", "x", 0)
    assert os.listdir(tmp_path / "full") == ["precious"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OperantError, match=r"file.*cannot make a run folder"):
            RunFolder.create(out, "ppo", "x", 0)

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OperantError, match=r"cannot make a run folder \(Permission denied\)"):
        RunFolder.create(tmp_path / "run", "ppo", "x", 0)


def test_only_a_run_can_be_opened(tmp_path, run):
    with pytest.raises(OperantError, match=r"nowhere: no such folder"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(OperantError, match=r"run is not a run: it has no run\.json"):
        RunFolder.open(run.path)
    run.write_description(DESCRIPTION)
    assert RunFolder.open(str(run.path)) == run


def test_the_description_comes_back(run):
    run.write_description({**DESCRIPTION, "note": "Zürich 東京"})
    assert run.read_description() == {**DESCRIPTION, "note": "Zürich 東京"}
    assert json.loads((run.path / "run.json").read_text(encoding="utf-8"))["format"] == 1
    run.write_description(DESCRIPTION)
    assert run.read_description() == DESCRIPTION
    assert os.listdir(run.path) == ["run.json"]


def test_a_description_is_replaced_whole_or_not_at_all(run, monkeypatch):
    run.write_description(DESCRIPTION)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def full(*_):
                raise OSError(28, "No space left on device")

            patch.setattr(os, name, full)
            with pytest.raises(CheckpointError, match=r"run\.json: cannot be written \(No space left on device\)"):
                run.write_description({**DESCRIPTION, "steps": 5})
        assert run.read_description() == DESCRIPTION
        assert os.listdir(run.path) == ["run.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": None},
        {"algorithm": ["ppo"]},
        {"fields": "all"},
        {"environment": {"id": "x"}},
        {"seeds": []},
        {"seeds": [0.5]},
        {"seeds": [True]},
        {"seeds": 3},
        {"steps": "many"},
        {"steps": True},
        {"versions": None},
    ],
)
def test_a_description_without_the_expected_keys_is_refused(run, change):
    with pytest.raises(CheckpointError, match=next(iter(change))):
        run.write_description({**DESCRIPTION, **change})
    (run.path / "run.json").write_text(json.dumps({"format": 1, **DESCRIPTION, **change}))
    with pytest.raises(CheckpointError, match=rf"run\.json.*{next(iter(change))}"):
        run.read_description()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"format": [1]}'], ids=range(7)
)
def test_what_is_no_description_is_refused(run, content):
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.json") as error:
        run.read_description()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e999", "[" * 80 + "]" * 80, '{"a":' * 1500 + "1" + "}" * 1500, "1" * 10_000, "tru"]
)
def test_a_hostile_value_in_a_sound_description_is_refused(run, value):
    sound = json.dumps({"format": 1, **DESCRIPTION})
    (run.path / "run.json").write_text(sound[:-1] + ', "note": "fine"}')
    assert run.read_description()["note"] == "fine"
    (run.path / "run.json").write_text(sound[:-1] + f', "note": {value}}}')
    with pytest.raises(CheckpointError, match=r"run\.json: is (not valid JSON|nested)") as error:
        run.read_description()
    assert "\n" not in str(error.value)


def test_a_huge_or_linked_description_is_refused(run, tmp_path):
    with open(run.path / "run.json", "wb") as file:
        file.truncate(2**40)  # sparse: reading it would not end
    with pytest.raises(CheckpointError, match=r"has 1099511627776 bytes"):
        run.read_description()
    (run.path / "run.json").unlink()
    (tmp_path / "elsewhere").write_text(json.dumps({"format": 1, **DESCRIPTION}))
    (run.path / "run.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"not a regular file"):
        run.read_description()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), np.float32(1)])
def test_a_description_is_plain_json(run, value):
    with pytest.raises(CheckpointError, match=r"cannot be written as JSON"):
        run.write_description({**DESCRIPTION, "fields": {"value": value}})
    assert os.listdir(run.path) == []


def test_metrics_come_back_line_by_line(run):
    assert run.read_metrics() == []
    row = {"steps": np.int64(10), "return": jnp.float32(0.5), "loss": np.float32("nan"), "up": float("inf")}
    run.append_metrics({**row, "name": "Zürich", "done": np.True_, "none": None, "seeds": [1.0, np.nan]})
    run.append_metrics({"steps": 20})
    assert run.read_metrics() == [
        {"steps": 10, "return": 0.5, "loss": None, "up": None, "name": "Zürich", "done": True, "none": None}
        | {"seeds": [1.0, None]},
        {"steps": 20},
    ]
    assert (run.path / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 2


def test_metrics_that_are_not_numbers_are_refused(run):
    for value in (np.zeros(2), object()):
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be written as JSON"):
            run.append_metrics({"steps": 1, "value": value})
    run.metrics.mkdir()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be written"):
        run.append_metrics({"steps": 1})
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be read"):
        run.read_metrics()


def test_rewinding_drops_what_came_after(run):
    for steps in (10, 20, 30):
        run.append_metrics({"steps": steps, "value": steps / 7})
    run.append_metrics({"note": "no steps"})
    kept = run.metrics.read_bytes().splitlines(keepends=True)
    run.rewind(20)
    assert run.metrics.read_bytes().splitlines(keepends=True) == [kept[0], kept[1], kept[3]]
    run.append_metrics({"steps": 30})
    assert [row.get("steps") for row in run.read_metrics()] == [10, 20, None, 30]


def test_a_line_torn_at_any_byte_is_dropped(run):
    for steps in (10, 20):
        run.append_metrics({"steps": steps, "value": 0.125})
    whole = run.metrics.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) - 1):
        run.metrics.write_bytes(whole[:length])
        assert run.read_metrics() == [{"steps": 10, "value": 0.125}]
        run.rewind(100)
        assert run.metrics.read_bytes() == whole[:first]
    run.metrics.write_bytes(whole[:-1])  # only the line's end is missing
    run.rewind(100)
    assert run.metrics.read_bytes() == whole


def test_damage_in_the_middle_is_an_error(run):
    run.metrics.write_bytes(b'{"steps": 1}\n{"steps": NaN}\n{"steps": 3}\n')
    for action in (run.read_metrics, lambda: run.rewind(5)):
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl: line 2"):
            action()


def test_the_other_files_have_their_places(run):
    places = {run.checkpoints: "checkpoints", run.curve: "curve.png", run.episode: "episode.gif"}
    assert {path.relative_to(run.path).as_posix() for path in places} == set(places.values())
