"""The host edge: final observations in every autoreset mode, and errors that say where."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from operant.environments import Host
from operant.errors import OperantError

SPACES = {
    "box": Box(-np.inf, np.inf, (2,)),
    "dict": Dict({"b": Box(-np.inf, np.inf, (2,)), "a": Tuple([Discrete(99), Box(0, 255, (1,), np.uint8)])}),
}


class Counting(gymnasium.Env):
    """Sees (draw of its generator, time), lasts `length` steps, and ends by truncation where `length` is odd."""

    action_space = Discrete(3, start=5)

    def __init__(self, length=3, kind="box"):
        self.length, self.observation_space, self.closed = length, SPACES[kind], False

    def seen(self):
        vector = np.float32([self.draw, self.time])
        if isinstance(self.observation_space, Box):
            return vector
        return {"b": vector, "a": (np.int64(self.time), np.uint8([self.time]))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.draw, self.time = self.np_random.integers(1000), 0
        return self.seen(), {}

    def step(self, action):
        self.time += 1
        over, odd = self.time >= self.length, self.length % 2 == 1
        return self.seen(), float(action), over and not odd, over and odd, {"time": self.time}

    def close(self):
        self.closed = True


def factories(kind="box"):
    return [lambda length=length: Counting(length, kind) for length in (2, 3, 50)]


def trajectory(host, steps=7, seed=0):
    first, action = host.reset(seed), np.array([0, 1, 2])
    return [first, *(host.step(action) for _ in range(steps))]


def flat(tree):
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in flat(tree[name])]
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple) else [tree]


@pytest.mark.parametrize("kind", SPACES)
def test_final_observations_are_the_final_ones(kind):
    host = Host(factories(kind))
    found = trajectory(host)[1:]
    vector = (lambda seen: seen) if kind == "box" else (lambda seen: seen["b"])
    ends = np.stack([step.terminated for step in found]), np.stack([step.truncated for step in found])
    np.testing.assert_array_equal(ends[0].T, [[0, 1, 0, 1, 0, 1, 0], [0] * 7, [0] * 7])
    np.testing.assert_array_equal(ends[1].T, [[0] * 7, [0, 0, 1, 0, 0, 1, 0], [0] * 7])
    following = np.stack([vector(step.next_observation)[:, 1] for step in found]).T
    np.testing.assert_array_equal(following, [[1, 2, 1, 2, 1, 2, 1], [1, 2, 3, 1, 2, 3, 1], [1, 2, 3, 4, 5, 6, 7]])
    current = np.stack([vector(step.observation)[:, 1] for step in found]).T
    np.testing.assert_array_equal(current, [[1, 0, 1, 0, 1, 0, 1], [1, 2, 0, 1, 2, 0, 1], [1, 2, 3, 4, 5, 6, 7]])
    # The draw of the episode that ended, not of the next.
    draws = vector(found[0].next_observation)[:, 0]
    np.testing.assert_array_equal(vector(found[1].next_observation)[:, 0], draws)
    assert vector(found[1].observation)[0, 0] != draws[0]
    np.testing.assert_array_equal(found[0].reward, [5, 6, 7])  # the actions, from the space's start
    assert found[0].reward.dtype == np.float32
    if kind == "dict":
        place, byte = found[1].next_observation["a"]
        np.testing.assert_array_equal(place, [2, 2, 2])
        np.testing.assert_array_equal(byte, [[2], [2], [2]])
        np.testing.assert_array_equal(found[1].observation["a"][0], [0, 2, 2])
        assert (place.dtype, byte.dtype) == (np.int32, np.uint8)


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_mode_of_the_sync_vector_environment_gives_the_same_steps(kind, mode):
    expected = trajectory(Host(factories(kind)))
    vector = SyncVectorEnv(factories(kind), autoreset_mode=mode)
    host = Host(vector)
    assert host.masked_reset == (mode == AutoresetMode.DISABLED)
    for a, b in zip(flat(tuple(expected)), flat(tuple(trajectory(host))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_mode_is_the_vectors_own_and_not_that_of_another():
    # Gymnasium writes the mode into a dictionary that all vector environments of a class share.
    vector = SyncVectorEnv(factories(), autoreset_mode=AutoresetMode.NEXT_STEP)
    disabled = SyncVectorEnv(factories(), autoreset_mode=AutoresetMode.DISABLED)
    Host(factories())
    for one in (vector, disabled):
        found = trajectory(Host(one))
        np.testing.assert_array_equal([step.next_observation[0, 1] for step in found[1:]], [1, 2, 1, 2, 1, 2, 1])


class Other(VectorEnv):
    def __init__(self, metadata):
        self.metadata, self.num_envs = metadata, 2
        self.single_observation_space, self.single_action_space = SPACES["box"], Discrete(2)


@pytest.mark.parametrize("metadata", [{}, {"autoreset_mode": AutoresetMode.NEXT_STEP}, {"autoreset_mode": "NextStep"}])
def test_junk_steps_are_refused(metadata):
    with pytest.raises(OperantError, match="NEXT_STEP mode"):
        Host(Other(metadata))


def test_a_wrapped_next_step_vector_environment_is_refused():
    with pytest.raises(OperantError, match="NEXT_STEP mode"):
        Host(VectorWrapper(SyncVectorEnv(factories())))
    assert not Host(VectorWrapper(SyncVectorEnv(factories(), autoreset_mode=AutoresetMode.SAME_STEP))).masked_reset
    assert issubclass(AsyncVectorEnv, VectorEnv) and not issubclass(AsyncVectorEnv, SyncVectorEnv)


def test_an_environment_may_reuse_its_buffer():
    class Reusing(Counting):
        buffer = None

        def seen(self):
            self.buffer = np.zeros(2, np.float32) if self.buffer is None else self.buffer
            self.buffer[:] = self.draw, self.time
            return self.buffer

    found = trajectory(Host([lambda: Reusing(2)] * 3))
    np.testing.assert_array_equal(found[2].next_observation[:, 1], [2, 2, 2])
    np.testing.assert_array_equal(found[2].observation[:, 1], [0, 0, 0])
    np.testing.assert_array_equal(found[1].next_observation[:, 1], [1, 1, 1])


def test_environment_i_is_seeded_with_seed_plus_i():
    def draws(host, seed):
        return host.reset(seed)[:, 0].tolist()

    host = Host([Counting] * 3)
    expected = [float(np.random.default_rng(np.random.PCG64(seed)).integers(1000)) for seed in (7, 8, 9)]
    assert draws(host, 7) == expected == draws(Host([Counting] * 3), 7)
    assert draws(host, 8)[:2] == expected[1:]
    assert draws(host, 7) != draws(host, None)


def test_a_single_instance_is_itself():
    environment = Counting(4)
    host = Host([lambda: environment])
    host.reset(0)
    host.step(np.array([1]))
    assert host.num_envs == 1 and environment.time == 1
    host.close()
    assert environment.closed


def test_time_limit_is_found():
    assert Host([lambda: gymnasium.make("CartPole-v1")] * 2).time_limit == 500
    assert Host(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync")).time_limit == 500
    assert Host([Counting]).time_limit is None
    spec = Host([lambda: gymnasium.make("Pendulum-v1")]).spec()
    assert spec.time_limit == 200 and spec.action_space == Box(-1, 1, (1,)) and spec.num_envs == 1


def failing(**methods):
    """A host of three, of which the middle one misbehaves as told."""

    def make():
        environment = Counting(50)
        for name, method in methods.items():
            inner = getattr(environment, name)
            setattr(environment, name, lambda *a, method=method, inner=inner, **k: method(environment, inner(*a, **k)))
        return environment

    return Host([lambda: Counting(50), make, lambda: Counting(50)])


def raising(message, time):
    def method(environment, outcome):
        if environment.time >= time:
            raise ValueError(message)
        return outcome

    return method


def refused(host, words, steps=4):
    with pytest.raises(OperantError, match=words) as caught:
        trajectory(host, steps)
    assert "\n" not in str(caught.value)


def test_an_exception_says_which_environment_step_and_action():
    host = failing(step=raising("too hot\nand more", 3))
    refused(host, r"raised ValueError: too hot \(environment 1, episode step 2, action 6\)")
    refused(failing(reset=raising("no start", 0)), r"ValueError: no start \(environment 1, at its reset\)")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda o: (o[0], o[1], o[2] or o[3], o[4]), "step returned 4 values, not Gymnasium's five"),
        (lambda o: o[0], "not Gymnasium's five"),
        (lambda o: (np.zeros(3, np.float32), *o[1:]), r"environment 1 .*shape \(3,\) at episode step 1.* says \(2,\)"),
        (lambda o: (np.zeros((1, 2), np.float32), *o[1:]), r"shape \(1, 2\)"),
        (lambda o: (np.zeros(2, complex), *o[1:]), "dtype complex128"),
        (lambda o: (np.array(["a", "b"]), *o[1:]), "dtype <U1"),
        (lambda o: (o[0], np.zeros(1), *o[2:]), r"reward array\(\[0\.\]\) at episode step 1: a reward is one number"),
        (lambda o: (o[0], [1.0, 2.0], *o[2:]), "a reward is one number"),
        (lambda o: (o[0], None, *o[2:]), "a reward is one number"),
        (lambda o: (o[0], "1", *o[2:]), "a reward is one number"),
    ],
)
def test_a_step_that_is_not_gymnasiums_is_refused(change, words):
    refused(failing(step=lambda _, outcome: change(outcome)), words)


def test_a_reset_that_is_not_gymnasiums_is_refused():
    refused(failing(reset=lambda _, outcome: outcome[0]), "reset did not return Gymnasium's two values")
    refused(failing(reset=lambda _, outcome: (np.zeros(3), {})), r"environment 1 .*shape \(3,\) at episode step 0")


def one_of(space, observation):
    class Showing(gymnasium.Env):
        observation_space, action_space = space, Discrete(2)

        def reset(self, *, seed=None, options=None):
            return observation, {}

    return Host([Showing])


BYTES, WHOLE = Box(0, 255, (2,), np.uint8), Box(-9, 9, (2,), np.int32)


@pytest.mark.parametrize(
    "space, observation",
    [
        (BYTES, np.array([0.5, 1.0])),
        (BYTES, np.array([-1, 300])),
        (WHOLE, np.array([0.0, 1.0], np.float32)),
        (Discrete(3), 1.0),
        (Discrete(3), np.float32(1)),
        (MultiDiscrete([3, 3]), np.array([1.0, 2.0])),
        (MultiBinary(2), np.array([0.0, 1.0])),
        (Box(0, 1, (2,)), np.array([1j, 0])),
        (Dict({"a": Tuple([Discrete(2), WHOLE])}), {"a": (1, np.array([0.5, 0.5]))}),
        (Tuple([BYTES]), (np.array([0.5, 0.5], np.float16),)),
    ],
)
def test_wrong_dtypes_are_refused(space, observation):
    with pytest.raises(OperantError, match=r"environment 0 gave an observation of dtype .* its space says"):
        one_of(space, observation).reset(0)


@pytest.mark.parametrize(
    "space, observation, dtype",
    [
        (Box(0, 1, (2,)), np.array([0.25, 0.5]), np.float32),
        (Box(0, 1, (2,), np.float64), np.float32([0.25, 0.5]), np.float32),
        (Box(0, 9, (2,)), np.array([1, 2]), np.float32),
        (Box(0, 9, (2,)), [1, 2.5], np.float32),
        (BYTES, np.array([1, 255], np.uint8), np.uint8),
        (WHOLE, np.array([1, 2], np.int64), np.int32),
        (WHOLE, np.array([1, 2], np.uint8), np.int32),
        (Discrete(3), 2, np.int32),
        (Discrete(3), np.int32(2), np.int32),
        (MultiBinary(2), np.array([True, False]), np.int8),
    ],
)
def test_fitting_dtypes_are_taken(space, observation, dtype):
    found = one_of(space, observation).reset(0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[0], observation)


@pytest.mark.parametrize("observation", [{"a": 1}, {"a": 1, "b": 1, "c": 1}, 3, (1, 1)])
def test_wrong_structures_are_refused(observation):
    with pytest.raises(OperantError, match="its space says"):
        one_of(Dict({"a": Discrete(2), "b": Discrete(2)}), observation).reset(0)
