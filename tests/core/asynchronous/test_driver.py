"""The asynchronous driver: an actor alone is the plain loop, bit for bit; several progress; whatever dies is told."""

import dataclasses
import functools
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

import operant
from operant.contracts import Clock
from operant.core.asynchronous.driver import AsynchronousDriver
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.core.drivers.loop import HostCarry
from operant.core.metrics import well
from operant.core.runs import checkpoint
from operant.environments import make
from operant.errors import DivergedError, OperantError
from operant.parts.networks import GRU, MLP
from operant.running import driver_of
from tests.core.test_training import Fragile, Poison
from tests.worlds import Slow

TINY = operant.A3C(num_actors=1, network=MLP((8,)))
PAIR = dataclasses.replace(TINY, num_actors=2)


@pytest.fixture(scope="module")
def cartpole():
    return make("CartPole-v1", 4, "compiled")


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def test_one_actor_is_a_plain_loop_of_gradient_and_apply_bit_for_bit(cartpole):
    driver = AsynchronousDriver(TINY, cartpole, 4)
    carry = driver.start(3)
    algorithm, programs, source = driver.algorithm, driver._programs, driver._source
    values, stream, slots = programs.flat(carry.state), carry.streams[0], np.arange(4, dtype=np.int32)
    for now in range(12):
        clock, (first, second) = Clock(np.int32(now), np.float32(now / 40)), programs.fresh()
        stream, window, ratios = source.window(algorithm, values, stream, carry.key, clock)
        window, key = window._replace(slots=slots, age=np.int32(0)), (carry.key, np.int32(now))
        values, gradient, _ = programs.gradient(algorithm, values, window, ratios, key, clock, (first, well()))
        values, _ = programs.apply(algorithm, values, gradient, clock, (second, well()))
    for first, count in ((0, 5), (5, 0), (5, 7)):  # however it is cut into chunks
        carry = driver.advance(carry, first, count, 40)
    np.testing.assert_array_equal(programs.flat(carry.state), values)
    assert same((carry.streams[0].observation, carry.streams[0].returns), (stream.observation, stream.returns))
    assert int(carry.updates[0]) == 12 and float(carry.totals["staleness"].total) == 0.0


@pytest.mark.slow
def test_one_actor_is_a2c(cartpole):
    together = CompiledDriver(operant.A2C(network=MLP((8,))), cartpole, 4)
    driver = AsynchronousDriver(TINY, cartpole, 4)
    alone, whole = driver.advance(driver.start(0), 0, 8, 20), together.advance(together.start(0), 0, 8, 20)
    for x, y in zip(jax.tree.leaves(alone.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_allclose(x, y[0], rtol=1e-4, atol=1e-5)
    # How far an update moved the policy is told by A2C alone: actors do not look at it again.
    assert set(whole.totals) - set(alone.totals) == {"approximate_kl"}
    for name in set(whole.totals) & set(alone.totals):
        ratio = whole.totals[name]
        np.testing.assert_allclose(alone.totals[name].total, ratio.total[0], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_one_actor_on_a_gymnasium_environment_is_a2c():
    def host():
        return make("CartPole-v1", 2, "gymnasium")

    driver, together = AsynchronousDriver(TINY, host(), 2), HostDriver(operant.A2C(network=MLP((8,))), host())
    alone, whole = driver.advance(driver.start(0), 0, 8, 20), together.advance(together.start(0), 0, 8, 20)
    assert isinstance(whole, HostCarry)
    for x, y in zip(jax.tree.leaves(alone.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    assert alone.totals["episode_return"].count == whole.totals["episode_return"].count > 0


@pytest.mark.parametrize("correction", ["vtrace", pytest.param("none", marks=pytest.mark.slow)])
def test_two_threads_share_the_windows_and_count_their_staleness(correction, cartpole):
    algorithm = dataclasses.replace(
        PAIR, network=GRU(4, (4,)), normalise=("rewards", "observations"), correction=correction
    )
    driver = AsynchronousDriver(algorithm, cartpole, 4)
    carry = driver.advance(driver.start(0), 0, 1, 200)  # compiles
    before = threading.active_count()
    carry = driver.advance(carry, 1, 199, 200)
    assert threading.active_count() == before
    assert int(carry.updates.sum()) == 200 and int(carry.updates.min()) > 20
    stale = carry.totals["staleness"]
    assert stale.count == 200 and 0 < stale.total < 2 * 200
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(carry.state))
    assert carry.totals["episode_length"].count > 0
    # Each actor keeps to its own slots of the critic's memory and has environments of its own.
    assert np.abs(np.asarray(carry.state.carried.memory)).reshape(2, -1).max(axis=1).all()
    first, second = (np.asarray(stream.observation) for stream in carry.streams)
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_a_run_is_saved_resumed_evaluated_and_told_like_any_other(tmp_path, capsys):
    common = {"num_envs": 4, "steps": 2_000, "progress": "plain", "evaluate_every": 1_000}
    whole = operant.train(TINY, "CartPole-v1", out=tmp_path / "whole", **common)
    assert "a3c on CartPole-v1: compiled backend, 4 environments in 1 thread, 2,000 steps" in capsys.readouterr().err
    stop = lambda progress: progress.steps >= 700  # noqa: E731
    operant.train(TINY, "CartPole-v1", out=tmp_path / "run", callback=stop, **common)
    agent = operant.resume(tmp_path / "run", progress="none")
    assert same(agent.policy, whole.policy) and agent.best is not None  # one actor: bit for bit
    assert {"staleness", "entropy", "episode_return"} <= set(agent.history[-2])
    assert same(operant.load(tmp_path / "run").policy, agent.policy)


@pytest.mark.slow
def test_host_environments_that_start_anew_continue_nothing():
    driver, jobs = AsynchronousDriver(TINY, make("CartPole-v1", 2, "gymnasium"), 2), []
    work = driver._crew.work
    driver._crew.work = lambda job: (jobs.append(job), work(job))[1]
    carry = driver.start(0)
    for now in range(2):
        ones = jax.tree.map(np.ones_like, carry.state.carried)
        carry = driver.advance(carry._replace(state=carry.state._replace(carried=ones)), now, 1, 10)
    first, second = (driver._programs.state(job.values).carried.returns for job in jobs)
    np.testing.assert_array_equal(first, 0.0)
    np.testing.assert_array_equal(second, 1.0)


@pytest.mark.slow
def test_several_seeds_take_turns():
    agents = operant.train(TINY, "CartPole-v1", num_envs=4, steps=200, num_seeds=2, seed=4, progress="none")
    for agent in agents:
        alone = operant.train(
            TINY, "CartPole-v1", num_envs=4, steps=200, seed=agent.description["seeds"][0], progress="none"
        )
        assert same(agent.policy, alone.policy)


@pytest.mark.slow
def test_divergence_stays_out_of_what_is_shared(tmp_path):
    with pytest.raises(DivergedError, match="the reward became NaN or infinite by step"):
        operant.train(PAIR, Poison(), steps=4_000, num_envs=2, out=tmp_path / "run", progress="none")
    agent = operant.load(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(agent.policy))


@pytest.mark.parametrize(
    ("environment", "fields", "words"),
    [
        ("CartPole-v1", {"num_envs": 7}, "7 environments cannot be shared equally by 2 actors: 6 or 8 can"),
        ("CartPole-v1", {"num_envs": 1}, "1 environments cannot be shared equally by 2 actors: 2 can"),
        (Fragile(), {}, "2 actors need environments of their own beside Fragile: give a class"),
    ],
)
def test_shares_that_are_not_equal_are_refused(environment, fields, words, tmp_path):
    with pytest.raises(OperantError, match=words):
        operant.train(PAIR, environment, steps=100, out=tmp_path / "run", progress="none", **fields)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_no_process_can_import_is_served_by_threads(tmp_path):
    class Local(Fragile):
        pass

    said = driver_of(PAIR, Local, 2, 1, "auto", None, None).placing
    assert said.startswith(" in 2 threads, which take turns: it cannot be sent to another process")
    with pytest.raises(OperantError, match=r"gripper is stuck.*environment 0, episode step 6"):
        operant.train(PAIR, Local, steps=1_000, num_envs=2, out=tmp_path / "run", progress="none")
    # Each of the two took 26 steps, of windows of 5; one may have been stopped before.
    assert 5 * 5 <= int(checkpoint.latest(tmp_path / "run" / "checkpoints")[0]) <= 5 * 10


def test_actors_in_processes(tmp_path):
    """Progress, an error of an environment, and a process that dies; one crew, for what starting one takes."""
    driver = driver_of(PAIR, functools.partial(Slow, length=9), 2, 1, "auto", None, None)
    assert driver.placing == " in 2 processes"
    try:
        carry = driver.advance(driver.start(0), 0, 60, 200)
        assert int(carry.updates.sum()) == 60 and int(carry.updates.min()) > 0
        assert carry.totals["episode_length"].count > 0 and carry.streams == ()
        assert not same(carry.state.policy.actor, driver.start(0).state.policy.actor)
        victim = multiprocessing.active_children()[0]
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(OperantError, match=r"^the process of actor [01] ended by itself \(exit code -9\)$"):
            driver.advance(carry, 60, 100, 200)
        kept, iteration = driver.latest
        assert iteration == int(kept.updates.sum()) >= 60
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.state))
    finally:
        driver.close()
    gc.collect()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_environment_that_raises_in_a_process(tmp_path):
    broken = functools.partial(Slow, fails="raises", length=9)
    with pytest.raises(OperantError, match=r"ValueError: too hot \(environment [01], episode step 2, action [012]\)"):
        operant.train(PAIR, broken, steps=1_000, num_envs=2, out=tmp_path / "run", progress="none")
    assert checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert not multiprocessing.active_children()


ORPHANS = """
import multiprocessing, operant
from operant.running import driver_of
driver = driver_of(operant.A3C(num_actors=2), "CartPole-v1", 2, 1, "gymnasium", None, None)
carry = driver.advance(driver.start(0), 0, 4, 100)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
driver.advance(carry, 4, 10**9, 10**9)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_no_actor_outlives_a_learner_that_is_killed():
    learner = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert learner.stdout is not None
    actors = [int(pid) for pid in learner.stdout.readline().split()]
    assert len(actors) == 2
    learner.kill()
    learner.wait()
    learner.stdout.close()
    deadline = time.monotonic() + 60
    while any(map(alive, actors)):
        assert time.monotonic() < deadline, "an actor still works, for nobody"
        time.sleep(0.1)
