"""Frames kept once against whole rows: the same transitions, bit for bit, in an eighth of the memory."""

import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import FrameStackObservation, TransformObservation

from operant.algorithms.value.dqn import DQN
from operant.algorithms.value.drqn import DRQN
from operant.contracts import Spec, Step, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.core.runs import checkpoint
from operant.environments import Compiled, Host
from operant.errors import OperantError
from operant.parts.networks import MLP
from operant.parts.replay import Draw, Frames, Prioritised, Uniform
from operant.parts.replay.host_memory import laid_out, outlined, settled
from operant.parts.replay.transitions import Transition, example_of, minibatch, rows_of, stretches
from tests.parts.replay.support import assert_carried_in_place

ENVS, STACK, SIDE, TIMES = 3, 4, 3, 96
FRAME = Box(0, 255, (SIDE, SIDE), np.uint8)
KEY = jax.random.key(0)


class Pictures(gymnasium.Env):
    """Frames of noise; some episodes end at once, some by a time limit."""

    observation_space, action_space = FRAME, Discrete(2)

    def _seen(self):
        return self.np_random.integers(0, 256, FRAME.shape, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        terminated, truncated = self.np_random.uniform(size=2) < (0.15, 0.06)
        return self._seen(), float(self.np_random.normal()), bool(terminated), bool(truncated), {}


def stacked(padding, last):
    environment = FrameStackObservation(Pictures(), STACK, padding_type=padding)
    if not last:
        return environment
    space = Box(0, 255, (SIDE, SIDE, STACK), np.uint8)
    return TransformObservation(environment, lambda x: np.moveaxis(x, 0, -1), space)


@functools.cache
def experience(padding="reset", last=False):
    """Steps `[T, B]` as the host driver sees them."""
    host = Host([lambda: stacked(padding, last)] * ENVS)
    observation, steps, action = host.reset(3), [], np.zeros(ENVS, int)
    for _ in range(TIMES):
        seen = host.step(action)
        ends = seen.terminated, seen.truncated
        steps.append(Step(observation, np.int32(action), seen.reward, *ends, seen.next_observation, ()))
        observation = seen.observation
    steps = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
    assert steps.terminated.any() and (steps.truncated & ~steps.terminated).sum() > 5
    return host.spec(), steps


def pushed(replay, length, count, n_step=1, **which):
    """The state after `count` windows."""
    spec, steps = experience(**which)
    row, carried = example_of(spec, n_step)
    state = laid_out(replay.init(row, length * ENVS, ENVS))

    @jax.jit
    def push(state, window, carried):
        rows, carried = rows_of(window, carried)
        return replay.push(state, rows), carried

    for number in range(count):
        now = slice(number * length, (number + 1) * length)
        window = Window(jax.tree.map(lambda x, now=now: jnp.asarray(x[now]), steps), (), jnp.arange(ENVS), jnp.int32(0))
        told, carried = push(outlined(state), window, carried)
        state = settled(told, state)
    return state


def newest(replay, state, count):
    """The indices of the newest `count` rows, the newest last."""
    ring = replay.storage.ring(getattr(state, "ring", state) if isinstance(replay, Prioritised) else state)
    return (ring.cursor * ring.block - 1 - jnp.arange(count)[::-1]) % (ring.blocks * ring.block)


def assert_same(rows, expected):
    """Everything, but for what followed terminal steps, which has no value."""
    valued = np.asarray(expected.continues) > 0
    for name in expected._fields:
        which = valued if name == "next_observation" else slice(None)
        for a, b in zip(*(jax.tree.leaves(getattr(each, name)) for each in (rows, expected)), strict=True):
            np.testing.assert_array_equal(np.asarray(a)[which], np.asarray(b)[which])
            assert a.dtype == b.dtype


CASES = [
    ("reset", False, 4, 3),
    ("reset", False, 4, 24),
    ("zero", False, 2, 48),
    ("zero", True, 1, 96),
    ("reset", True, 8, 12),
]


@pytest.mark.parametrize(("padding", "last", "length", "count"), CASES)
def test_rows_are_those_of_whole_storage(padding, last, length, count):
    whole, frames = Uniform(48), Uniform(48, Frames(STACK))
    states = [pushed(replay, length, count, padding=padding, last=last) for replay in (whole, frames)]
    size = int(frames.size(states[1]))
    assert size == min(48, count * length * ENVS) == int(whole.size(states[0]))
    got, expected = (
        jax.jit(lambda s, i, r=replay: r.rows(s, i))(state, newest(replay, state, size))
        for replay, state in zip((frames, whole), states[::-1], strict=True)
    )
    assert_same(got, expected)
    # In the host's memory they are the same, what stands for the value of no next observation included.
    state = pushed(Uniform(48, Frames(STACK, "host")), length, count, padding=padding, last=last)
    on_host = frames.rows(state, np.asarray(newest(frames, state, size)))
    for a, b in zip(*map(jax.tree.leaves, (on_host, got)), strict=True):
        assert type(a) is np.ndarray and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    # Among them are episodes' beginnings, and truncations with last frames of their own.
    _, steps = experience(padding, last)
    begun = np.roll(steps.terminated | steps.truncated, 1, axis=0)
    assert begun.reshape(-1)[count * length * ENVS - size : count * length * ENVS].any()


def test_drawn_rows_have_all_that_they_need():
    whole, frames = Uniform(48), Uniform(48, Frames(STACK))
    for count in (1, 7, 30):
        state, other = pushed(frames, 2, count), pushed(whole, 2, count)
        size = int(frames.size(state))
        index = np.asarray(frames.draw(state, KEY, 500).index)
        which = np.asarray(newest(frames, state, size))
        assert set(index) == set(which)  # each, and none beside
        place = {row: number for number, row in enumerate(which)}
        twin = jnp.asarray(newest(whole, other, size))[jnp.array([place[row] for row in index])]
        assert_same(frames.rows(state, jnp.asarray(index)), whole.rows(other, twin))


def test_returns_of_several_steps_and_priorities_work_on_frames():
    spec, _ = experience()
    whole, frames = Prioritised(48, 1.0, 1.0), Prioritised(48, 1.0, 1.0, Frames(STACK))
    for count in (5, 30):
        batches = []
        for replay in (whole, frames):
            state = pushed(replay, 2, count, n_step=3)
            index = newest(replay, state, int(replay.size(state)))
            batches.append(minibatch(stretches(replay, state, index, 3, spec), jnp.float32(0.9), spec))
        valued = np.asarray(batches[0].discount) > 0
        for name, a, b in zip(batches[0]._fields, *batches, strict=True):
            which = valued if name == "following" else slice(None)
            if a is not None or b is not None:  # there is no mask
                np.testing.assert_array_equal(np.asarray(a)[which], np.asarray(b)[which], err_msg=name)


def test_rows_that_only_lend_their_frames_have_no_priority():
    frames = Prioritised(48, 1.0, 1.0, Frames(STACK))
    state = pushed(frames, 2, 30)
    size, ring = int(frames.size(state)), state.ring.ring
    total = ring.blocks * ring.block
    kept = np.asarray(newest(frames, state, size))
    lending = np.setdiff1d(np.arange(total), kept)
    assert len(lending) == 12 and size == 48  # 3 steps of 3 streams, in blocks of 6
    leaves = lambda state: np.asarray(state.tree.leaves).ravel()[:total]  # noqa: E731
    assert (leaves(state)[lending] == 0).all() and (leaves(state)[kept] == 1).all()
    everything = Draw(jnp.arange(total, dtype=jnp.int32), None, state.pushes)
    updated = leaves(frames.update(state, everything, jnp.full(total, 7.0)))
    assert (updated[lending] == 0).all() and (updated[kept] > 6).all()
    # Those that were drawn, and lent since, stay so.
    later = pushed(frames, 2, 31)
    updated = leaves(frames.update(later, everything, jnp.full(total, 7.0)))
    oldest = kept[:6]
    assert (updated[oldest] == 0).all() and (updated[kept[6:]] > 6).all()


def test_a_million_steps_of_atari_fit():
    def held(storage, shape):
        space = Box(0, 255, shape, np.uint8)
        row, _ = example_of(Spec(space, Discrete(4), 8), 1)
        state = jax.eval_shape(lambda: Uniform(1_000_000, storage).init(row, 80, 8))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))

    for shape in ((4, 84, 84), (84, 84, 4)):
        assert held(Frames(), shape) < 7.3e9 < 56e9 < held(Uniform(1).storage, shape)


def test_observations_that_are_no_stacks_stop_learning():
    spec, steps = experience()
    row, _ = example_of(spec, 1)
    replay = Uniform(48, Frames(STACK))

    def rewards(change):
        rows, _ = rows_of(Window(jax.tree.map(jnp.asarray, change(steps)), (), jnp.arange(ENVS), jnp.int32(0)), ())
        rows = jax.tree.map(lambda leaf: leaf[: 4 * ENVS], rows)
        state = replay.push(replay.init(row, 4 * ENVS, ENVS), rows)
        return np.isnan(replay.rows(state, jnp.arange(4 * ENVS)).reward)

    assert not rewards(lambda steps: steps).any()
    # At an episode's beginning, where the newest frame is repeated, a reversed stack is one too.
    begins = np.roll(steps.terminated | steps.truncated, 1, axis=0)[:4].reshape(-1)
    begins[:ENVS] = True
    backwards = rewards(lambda steps: steps._replace(observation=steps.observation[:, :, ::-1]))
    assert begins.sum() < len(begins) / 2 and (backwards == ~begins).all()
    other = steps.next_observation.copy()
    other[1, 2, 0] += 1
    assert np.flatnonzero(rewards(lambda steps: steps._replace(next_observation=other))).tolist()[0] == ENVS + 2


@pytest.mark.parametrize(
    ("observation", "stack", "words"),
    [
        (Box(0, 255, (84, 84, 3), np.uint8), 4, r"observations of shape \(84, 84, 3\) are no stack of 4 frames"),
        (gymnasium.spaces.Dict(a=FRAME, b=FRAME), 4, "observations with parts are no stack"),
        (Box(0, 255, (1, 8, 8), np.uint8), 1, "at least 2"),
        (Discrete(4), 4, "are no stack of 4 frames"),
        (Box(-1, 1, (4,)), 4, r"observations of shape \(4,\) are no stack of 4 frames"),
    ],
)
def test_what_cannot_be_kept_is_refused(observation, stack, words):
    row, _ = example_of(Spec(observation, Discrete(2), 2), 1)
    with pytest.raises(OperantError, match=words):
        Uniform(100, Frames(stack)).init(row, 8, 2)


def test_sequences_are_refused():
    algorithm = DRQN(replay=Uniform(64, Frames(4)))
    with pytest.raises(OperantError, match="Frames keeps single transitions: use it with dqn"):
        algorithm.init(KEY, Spec(Box(0, 255, (4, 3), np.uint8), Discrete(2), 2))


class Screens:
    """A compiled environment with the frames last; the older ones are zeros at first."""

    name = "Screens"
    default_params = None

    def observation_space(self, params):
        return Box(0, 255, (2, 2, STACK), np.uint8)

    def action_space(self, params):
        return Discrete(2)

    def _frame(self, key):
        return jax.random.bits(key, (2, 2, 1), jnp.uint8)

    def reset(self, key, params=None):
        stack = jnp.concatenate([jnp.zeros((2, 2, STACK - 1), jnp.uint8), self._frame(key)], axis=-1)
        return stack, (stack, jnp.int32(0))

    def step(self, key, world, action, params=None):
        stack, time = world
        following = jnp.concatenate([stack[..., 1:], self._frame(jax.random.fold_in(key, 1))], axis=-1)
        truncated, terminated = time == 40, jax.random.bernoulli(key, 0.05)
        reward = jnp.where(action == stack[0, 0, -1] % 2, 1.0, 0.0)
        fresh, begun = self.reset(jax.random.fold_in(key, 2))
        choose = lambda new, old: jnp.where(truncated | terminated, new, old)  # noqa: E731
        observation, world = jax.tree.map(choose, (fresh, begun), (following, (following, time + 1)))
        return observation, world, reward, terminated, truncated & ~terminated, {"final_observation": following}


def dqn(replay):
    return DQN(
        num_steps=5,
        warmup=40,
        batch_size=16,
        target_every=40,
        n_step=3,
        num_updates=2,
        replay=replay,
        network=MLP((8,)),
    )


@pytest.mark.parametrize("kind", [Uniform, Prioritised])
def test_a_learner_does_not_notice(kind):
    policies = []
    for replay in (kind(2_000), kind(2_000, storage=Frames(STACK))):
        driver = CompiledDriver(dqn(replay), Compiled(Screens()), 4)
        policies.append(driver.advance(driver.start(0), 0, 40, 40).state.policy)
    for a, b in zip(*map(jax.tree.leaves, policies), strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_is_saved_with_the_run(tmp_path):
    driver = CompiledDriver(dqn(Prioritised(100, storage=Frames(STACK))), Compiled(Screens()), 4)
    carry = driver.advance(driver.start(0), 0, 30, 40)
    carry, _ = checkpoint.load(checkpoint.save(tmp_path, "30", carry, {}), driver.template())
    resumed = driver.advance(carry, 30, 10, 40).state
    whole = driver.advance(driver.start(0), 0, 40, 40).state
    assert int(whole.replay.ring.ring.filled[0]) == whole.replay.ring.ring.data["int32"].shape[1]  # it wraps around
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loop_carries_it_in_place():
    replay = Uniform(4_001 * 4, Frames(STACK))
    row, _ = example_of(Spec(Box(0, 255, (STACK, 8, 8), np.uint8), Discrete(2), 4), 1)
    state = replay.init(row, 4, 4)
    rows = jax.tree.map(lambda leaf: jnp.zeros((4, *leaf.shape), leaf.dtype), row)

    def look(state, number):
        drawn = replay.rows(state, replay.draw(state, jax.random.fold_in(KEY, number), 16).index)
        return state, drawn.observation.mean() + drawn.next_observation.mean()

    assert_carried_in_place(replay, state, lambda number: rows._replace(action=jnp.full(4, number)), look)


def test_where_more_truncations_than_places_are_kept_the_newest_frame_stands_for_the_last():
    space = Box(0, 255, (2, 3), np.uint8)
    row, _ = example_of(Spec(space, Discrete(2), 1), 1)
    replay = Uniform(320, Frames(2))
    push, state = jax.jit(replay.push), replay.init(row, 1, 1)
    for number in range(60):  # episodes of one step
        seen = np.full((1, 2, 3), number, np.uint8)
        after = np.stack([seen[:, 1], seen[:, 1] + 100], axis=1)
        state = push(state, Transition(seen, jnp.zeros(1, jnp.int32), jnp.zeros(1), jnp.ones(1), after))
    rows = replay.rows(state, jnp.arange(60))
    known = np.asarray(rows.next_observation)[:, 1, 0] == np.arange(60) + 100
    places = len(state.finals)
    assert 8 < places < 16 and known[-places - 1 :].all()  # with the newest row's, which is kept beside them
    np.testing.assert_array_equal(rows.next_observation[: -places - 1, 1, 0], np.arange(60 - places - 1))
