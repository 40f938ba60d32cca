"""Replay: contents against a NumPy ring, fair draws, and a compiled loop that never copies the ring."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from operant.errors import OperantError
from operant.parts.replay import Uniform


def transitions(first, count):
    """Recognisable rows: everything in a row is a function of its serial number."""
    serial = jnp.asarray(first, jnp.int32) + jnp.arange(count, dtype=jnp.int32)
    return {
        "observation": {
            "image": (serial[:, None, None] * jnp.ones((1, 2, 3), jnp.int32)).astype(jnp.uint8),
            "goal": serial[:, None].astype(jnp.float32) + jnp.array([[0.25, 0.5]]),
        },
        "action": serial,
        "terminated": serial % 3 == 0,
    }


def example():
    return jax.tree.map(lambda x: x[0], transitions(0, 1))


KNOWN = jax.tree.map(np.asarray, transitions(0, 200))


def sample(replay, state, key, batch_size):
    return replay.rows(state, replay.draw(state, key, batch_size).index)


def rows_of(replay, state):
    """Every filled row, by an index instead of chance: what sampling could return."""
    flat = {dtype: ring.reshape(-1, ring.shape[-1]) for dtype, ring in state.data.items()}
    return jax.tree.map(lambda x: np.asarray(x)[: int(replay.size(state))], state.packing.unpack(flat))


@pytest.mark.parametrize("capacity, block", [(1, 1), (7, 1), (7, 3), (12, 4), (3, 5)])
def test_contents_equal_a_numpy_ring_after_any_number_of_pushes(capacity, block):
    replay = Uniform(capacity)
    rows = -(-capacity // block) * block
    push = jax.jit(lambda state, first: replay.push(state, transitions(first, block)))
    state, ring, written = replay.init(example(), block), np.full(rows, -1), 0
    assert int(replay.size(state)) == 0
    rng = np.random.default_rng(capacity)
    for pushes in rng.integers(0, 2 * rows // block + 2, size=5):
        for _ in range(pushes):
            state = push(state, written)
            for serial in range(written, written + block):
                ring[serial % rows] = serial
            written += block
        held = ring[ring >= 0]
        contents = rows_of(replay, state)
        np.testing.assert_array_equal(contents["action"], held)
        expected = jax.tree.map(lambda known, held=held: known[held], KNOWN)
        jax.tree.map(np.testing.assert_array_equal, contents, expected)


def test_samples_are_filled_whole_rows_with_their_structure_and_dtypes():
    replay = Uniform(1000)
    state = replay.init(jax.eval_shape(example), block=4)
    state = replay.push(replay.push(state, transitions(50, 4)), transitions(54, 4))
    batch = jax.jit(lambda state: sample(replay, state, jax.random.key(0), 500))(state)
    assert set(np.unique(batch["action"])) == set(range(50, 58))  # a row never written would be 0
    assert jax.tree.map(lambda x: str(x.dtype), batch) == jax.tree.map(lambda x: str(x.dtype), example())
    assert batch["observation"]["image"].shape == (500, 2, 3)
    np.testing.assert_array_equal(batch["observation"]["image"][:, 1, 2], batch["action"])
    np.testing.assert_array_equal(batch["observation"]["goal"][:, 1], batch["action"] + 0.5)
    np.testing.assert_array_equal(batch["terminated"], batch["action"] % 3 == 0)


def test_every_row_is_equally_likely_and_drawn_with_replacement():
    replay = Uniform(48)
    state = replay.init(example(), block=6)
    for first in range(0, 60, 6):  # wraps around: rows 12 to 59 remain
        state = replay.push(state, transitions(first, 6))
    drawn = np.asarray(sample(replay, state, jax.random.key(5), 48_000)["action"])
    assert drawn.min() == 12 and drawn.max() == 59
    assert stats.chisquare(np.bincount(drawn - 12, minlength=48)).pvalue > 1e-3


def test_vmapped_seeds_hold_what_each_holds_alone():
    replay, seeds = Uniform(6), jnp.arange(3)

    def contents(seed):
        state = replay.init(example(), block=2)
        for push in range(5):
            state = replay.push(state, transitions(100 * seed + 2 * push, 2))
        return state, sample(replay, state, jax.random.key(seed), 20)

    states, batches = jax.jit(jax.vmap(contents))(seeds)
    alone_compiled = jax.jit(contents)
    for seed in range(3):
        alone = alone_compiled(seed)
        for got, expected in zip(jax.tree.leaves((states, batches)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(got[seed], expected)


def loop(replay, update_returns_ring):
    def iteration(carry, index):
        state, weight = carry
        state = replay.push(state, transitions(index, 4))

        def update(weight):
            batch = sample(replay, state, jax.random.fold_in(jax.random.key(0), index), 16)
            return weight + batch["observation"]["goal"].mean() + batch["observation"]["image"].mean()

        if update_returns_ring:
            other = state._replace(data=jax.tree.map(lambda ring: ring + 1, state.data))
            state, weight = jax.lax.cond(index >= 3, lambda w: (state, update(w)), lambda w: (other, w), weight)
        else:
            weight = jax.lax.cond(index >= 3, update, lambda weight: weight, weight)
        return (state, weight), None

    def run(state, weight):
        return jax.lax.scan(iteration, (state, weight), jnp.arange(10))[0]

    return jax.jit(run, donate_argnums=0)


def instructions_the_size_of_the_ring(compiled, state):
    """Opcodes of instructions whose result is one whole ring array, whatever its shape."""
    sizes = {(str(ring.dtype).replace("float", "f").replace("uint", "u"), ring.size) for ring in state.data.values()}
    found = set()
    for dtype, shape, opcode in re.findall(r"= (\w+)\[([\d,]+)\]\S* ([\w-]+)\(", compiled.as_text()):
        if (dtype, int(np.prod([int(axis) for axis in shape.split(",")]))) in sizes:
            found.add(opcode)
    return found


def test_a_compiled_loop_writes_the_donated_ring_in_place():
    replay = Uniform(5_003 * 4)  # a number of elements that nothing else in the program has
    state = replay.init({k: v for k, v in example().items() if k != "action"}, block=4)

    def drop_action(batch):
        return {k: v for k, v in batch.items() if k != "action"}

    class Dropping:
        push = staticmethod(lambda state, batch: replay.push(state, drop_action(batch)))
        draw, rows = staticmethod(replay.draw), staticmethod(replay.rows)

    compiled = loop(Dropping, False).lower(state, jnp.float32(0)).compile()
    inside = instructions_the_size_of_the_ring(compiled, state)
    harmless = {"parameter", "get-tuple-element", "bitcast", "dynamic-update-slice", "fusion"}
    assert "dynamic-update-slice" in inside and inside <= harmless
    ring_bytes = sum(ring.nbytes for ring in state.data.values())
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes >= ring_bytes  # the result is the donated buffer
    assert memory.temp_size_in_bytes < ring_bytes / 4  # and no second one exists


def test_a_branch_that_returns_the_ring_is_seen_to_copy_it():
    replay = Uniform(5_003 * 4)
    state = replay.init(example(), block=4)
    memory = loop(replay, True).lower(state, jnp.float32(0)).compile().memory_analysis()
    assert memory.temp_size_in_bytes > sum(ring.nbytes for ring in state.data.values())


def test_misuse_is_refused():
    with pytest.raises(OperantError, match="positive"):
        Uniform(0).init(example(), 1)
    with pytest.raises(OperantError, match="positive"):
        Uniform(4).init(example(), 0)
    with pytest.raises(OperantError, match="array"):
        Uniform(4).init({}, 1)
    state = Uniform(8).init(example(), 4)
    with pytest.raises(OperantError, match="4 rows"):
        Uniform(8).push(state, transitions(0, 2))


def test_the_recipe_is_structure():
    assert Uniform(5) == Uniform(5) and hash(Uniform(5)) == hash(Uniform(5)) and Uniform(5) != Uniform(6)
