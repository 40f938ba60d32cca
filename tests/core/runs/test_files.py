"""Files as each platform wants them: what cannot be run here is shown by standing in for the platform."""

import os
import sys
from pathlib import Path, PureWindowsPath

import pytest

from operant.core.runs import files
from operant.core.runs.folder import RunFolder
from operant.errors import CheckpointError

DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


class Busy:
    """os.replace as Windows has it while somebody reads the target, `times` times."""

    def __init__(self, monkeypatch, times):
        self.left, self.slept, self.really = times, [], os.replace
        monkeypatch.setattr(os, "replace", self)
        monkeypatch.setattr(files.time, "sleep", self.slept.append)

    def __call__(self, source, target):
        if self.left:
            self.left -= 1
            raise PermissionError(13, "Access is denied")
        self.really(source, target)


def test_windows_waits_for_whoever_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    busy = Busy(monkeypatch, 3)
    files.replace_file(tmp_path / "curve.png", b"new")
    assert (tmp_path / "curve.png").read_bytes() == b"new" and len(busy.slept) == 3
    busy.left = 1000
    with pytest.raises(CheckpointError, match="Access is denied"):
        files.replace_file(tmp_path / "curve.png", b"newer")
    assert (tmp_path / "curve.png").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"] and sum(busy.slept) < 3


def test_elsewhere_a_refusal_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    busy = Busy(monkeypatch, 1)
    with pytest.raises(CheckpointError, match="cannot be written"):
        files.replace_file(tmp_path / "x", b"")
    assert not busy.slept


def test_windows_has_no_way_to_sync_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", lambda *arguments: pytest.fail("Windows cannot open a folder"))
    monkeypatch.setattr(sys, "platform", "win32")
    files.sync_folder(tmp_path)


@pytest.mark.parametrize("able", [True, False], ids=["APFS", "a file system that cannot"])
def test_macos_empties_the_drives_own_cache(able, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no fcntl")
    called = []

    def control(descriptor, command):
        called.append(command)
        if not able:
            raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda descriptor: called.append("fsync"))
    files.write_file(tmp_path / "file", b"data")
    files.sync_folder(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"data"
    assert called == ([51, 51] if able else [51, "fsync", 51, "fsync"])


@pytest.mark.parametrize("name", ["my:env/x?*<>|v0", "módulo:Señal-v0", "con", "a" * 500, "..", "trailing. ", "-rf"])
def test_a_run_folder_has_a_name_that_every_system_takes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(None, "ppo", name, 0).path
    assert folder.parent == Path("runs") and folder.is_dir()
    assert folder.name.isascii() and not set(folder.name) & set('<>:"/\\|?* ') and len(folder.name) <= 100
    assert not folder.name.startswith("-") and not folder.name.endswith((".", " "))
    assert PureWindowsPath(folder.name).stem.upper() not in DEVICES


@pytest.mark.parametrize(
    ("system", "path", "typed"),
    [
        ("linux", "runs/mine", "runs/mine"),
        ("linux", "my runs/a'b", "'my runs/a'\"'\"'b'"),
        ("darwin", "runs/$HOME", "'runs/$HOME'"),
        ("win32", "runs/mine", "runs/mine"),
        ("win32", "C:\\runs\\a-1.2", "C:\\runs\\a-1.2"),
        ("win32", "my runs\\a&b", '"my runs\\a&b"'),
    ],
)
def test_a_path_is_told_as_it_is_typed(system, path, typed, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    assert RunFolder(Path(path)).quoted == typed
