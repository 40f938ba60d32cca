"""Memory that actors share: increments of all are kept, staleness counts what came between, and claims are unique."""

import sys
import threading

import numpy as np

from operant.core.asynchronous import shared
from operant.core.asynchronous.shared import Shared


def fresh(values, actors=3, first=0, end=0):
    memory = Shared(bytearray(Shared.size(len(values), actors)), threading.Lock(), actors)
    memory.publish(np.float32(values), [0] * actors, first, end)
    return memory


def test_staleness_of_a_scripted_interleaving():
    memory = fresh([0.0, 0.0])
    here = memory.read()
    other, third = memory.read(), memory.read()
    assert memory.add(1, other[0], other[0] + 1, other[1]) == 0  # nobody came between
    later = memory.read()
    assert memory.add(2, third[0], third[0] + 10, third[1]) == 1
    assert memory.add(1, later[0], later[0] + 100, later[1]) == 1
    assert memory.add(0, here[0], here[0] + 1000, here[1]) == 3
    values, count = memory.read()
    assert count == 4
    np.testing.assert_array_equal(values, [1111.0, 1111.0])
    np.testing.assert_array_equal(memory.updates, [1, 2, 1])


def test_an_update_alone_leaves_exactly_what_it_computed():
    rng = np.random.default_rng(0)
    # From one number to another up to 2^28 times smaller or larger, of either sign.
    old = np.float32(rng.normal(size=100_000))
    new = np.float32(old * rng.choice([-1, 1], 100_000) * 2.0 ** rng.uniform(-28, 28, 100_000))
    old[:3], new[:3] = [0.0, 1e-8, -3.0], [1e-30, 0.0, np.nextafter(np.float32(-3), np.float32(0))]
    memory = fresh(old)
    memory.add(0, old, new, 0)
    np.testing.assert_array_equal(memory.read()[0], new)
    # In single precision it would not.
    assert (old + (new - old) != new).any()


def test_notes_overwrite_only_what_changed():
    memory = fresh([1.0, 2.0, 3.0])
    before, _ = memory.read()
    memory.note(before, np.float32([1.0, 2.0, 7.0]))
    memory.note(before, np.float32([5.0, 2.0, 3.0]))  # by somebody who had not seen the 7
    np.testing.assert_array_equal(memory.read()[0], [5.0, 2.0, 7.0])


def test_each_window_is_claimed_once_and_none_after_a_halt():
    memory, claimed, interval = fresh([0.0], 4, 10, 2010), [[] for _ in range(4)], sys.getswitchinterval()

    def work(number):
        while (now := memory.claim()) is not None:
            claimed[number].append(now)

    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(now for each in claimed for now in each) == list(range(10, 2010))
    memory.publish(np.float32([0.0]), [0] * 4, 0, 5)
    assert memory.claim() == 0
    memory.halt()
    assert memory.claim() is None


def test_a_lock_that_a_dead_process_holds_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE", 0.01)
    memory = fresh([0.0], end=3)
    memory._lock.acquire()
    assert memory.claim() is None
