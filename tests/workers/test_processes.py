"""Environments in spawned processes: the same steps, the same errors, and no process left behind."""

import functools
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from gymnasium.spaces import Box

import operant
from operant.environments import Host, make, several
from operant.errors import OperantError
from operant.workers.making import step_seconds
from operant.workers.processes import Processes
from tests.worlds import Heavy, Modules, Slow


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Two cores on any machine; no worker outlives a test."""
    monkeypatch.setattr(several, "cores", lambda: 2)
    yield
    gc.collect()
    assert not multiprocessing.active_children()


def trajectory(host, steps=12, seed=3):
    rng = np.random.default_rng(0)
    return [host.reset(seed), *(host.step(rng.integers(3, size=host.num_envs)) for _ in range(steps))]


def flat(tree):
    if isinstance(tree, dict):
        tree = tuple(tree[name] for name in sorted(tree))
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple | list) else [tree]


def test_steps_are_those_of_one_process_bit_for_bit():
    here = Host([Slow] * 5)
    there = Host(Processes(Slow, 5, 2))
    try:
        expected, found = (flat(trajectory(host)) for host in (here, there))
        assert len(expected) == len(found) == 2 + 12 * 7
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        ends = [a for a in expected if a.dtype == bool]
        assert len(ends) == 24 and any(a.any() for a in ends[::2]) and any(a.any() for a in ends[1::2])
        assert there.observation_space == Slow.observation_space
        np.testing.assert_array_equal(flat(there.reset(None))[1], 0)  # a new episode, seeded anew by nobody
    finally:
        there.close()
    assert not multiprocessing.active_children()


def test_a_worker_loads_no_jax_and_not_the_script():
    host = Host(Processes(Modules, 2, 2))
    try:
        np.testing.assert_array_equal(host.reset(0), 0.0)
    finally:
        host.close()


def test_an_error_in_a_worker_says_which_environment_step_and_action():
    host = Host(Processes(functools.partial(Slow, fails="raises", length=9), 3, 2))
    try:
        host.reset(0)
        actions = np.array([0, 1, 2])
        host.step(actions), host.step(actions)
        words = r"^the environment raised ValueError: too hot \(environment 0, episode step 2, action 0\)$"
        for _ in range(2):  # the same again, after new episodes
            with pytest.raises(OperantError, match=words):
                host.step(actions)
            host.reset(1)
            host.step(actions), host.step(actions)
    finally:
        host.close()


def test_a_worker_that_dies_is_told():
    host = Host(Processes(functools.partial(Slow, fails="dies", length=9), 4, 2))
    try:
        host.reset(0)
        with pytest.raises(OperantError, match=r"^the process of environments 0 to 1 ended by itself \(exit code -9\)"):
            for _ in range(3):
                host.step(np.zeros(4, int))
    finally:
        host.close()


def local():
    return lambda: Slow(0.003)


def unequal():
    environment = Slow(0.003)
    environment.observation_space = Box(0, np.float32(multiprocessing.current_process().pid), (2,))
    return environment


def test_slow_steps_choose_processes_and_say_so():
    host = make(Heavy, 4)
    try:
        assert type(host.vector) is Processes and host.num_envs == 4
        assert host.placing.startswith(" in 2 processes (a step takes ") and host.placing.endswith(" ms)")
    finally:
        host.close()
    host = make(functools.partial(Heavy, seconds=0.0), 4)
    assert type(host.vector) is not Processes and host.placing == ""
    assert make(Heavy, 1).placing == ""


def test_by_the_name_of_a_class_in_a_module():
    host = make("tests.worlds:Heavy", 2, kwargs={"length": 7})
    try:
        assert type(host.vector) is Processes and host.name == "Heavy"
    finally:
        host.close()
    for name in ("tests.worlds:np", "tests.worlds:absent", "os:system", "subprocess:Popen"):  # nothing is called
        with pytest.raises(OperantError, match="could not be made"):
            make(name, 2)


def test_what_another_process_cannot_make_stays_and_says_why():
    host = make(local(), 4)
    assert type(host.vector) is not Processes and host.num_envs == 4
    assert (
        "in this process, though a step takes" in host.placing and "cannot be sent to another process" in host.placing
    )
    with pytest.raises(OperantError, match="unequal spaces"):
        Processes(unequal, 2, 2)


def test_the_time_of_a_step_is_measured_and_failures_are_not_its_business():
    assert 0.002 < step_seconds(Slow(0.002)) < 0.1
    assert step_seconds(Slow(fails="raises")) is None


def test_training_in_processes_is_training_in_one(monkeypatch, capsys):
    settings = {"num_envs": 4, "steps": 64, "num_steps": 8, "num_minibatches": 1, "progress": "auto"}
    agent = operant.train("ppo", Heavy, **settings)
    assert "4 environments in 2 processes (a step takes" in capsys.readouterr().err
    assert not multiprocessing.active_children()
    monkeypatch.setattr(several, "cores", lambda: 1)
    alone = operant.train("ppo", Heavy, **settings)
    assert "4 environments, 64 steps" in capsys.readouterr().err
    for a, b in zip(*(flat_parameters(one) for one in (agent, alone)), strict=True):
        np.testing.assert_array_equal(a, b)


def flat_parameters(agent):
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(agent.policy) if hasattr(leaf, "shape")]


def test_failing_training_leaves_no_process():
    with pytest.raises(OperantError, match=r"too hot \(environment 0, episode step 2"):
        operant.train("ppo", functools.partial(Heavy, length=9, fails="raises"), num_envs=4, steps=64, progress="none")
    gc.collect()
    assert not multiprocessing.active_children()


SCRIPT = """
import os, sys
import operant
from operant.environments import several
from tests.worlds import Heavy
several.cores = lambda: 2
print("begun", flush=True)
host = operant.make(Heavy, 2)
print(*(worker.pid for worker in host.vector._workers), flush=True)
host.reset(0)
while True:
    host.step(__import__("numpy").zeros(2, int))
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks the kernel whether processes live")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_script_without_a_guard(number, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    script = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    try:
        assert script.stdout.readline() == "begun\n"
        workers = [int(word) for word in script.stdout.readline().split()]
        assert len(workers) == 2 and all(map(alive, workers))
        (os.killpg if number == signal.SIGINT else os.kill)(script.pid, number)  # Ctrl-C reaches the whole group
        rest, said = script.communicate(timeout=30)
        deadline = time.monotonic() + 10
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, workers))
        assert rest == ""  # no worker began the script anew
        assert said.count("Traceback") == (number == signal.SIGINT)  # the script's own
    finally:
        script.kill()
