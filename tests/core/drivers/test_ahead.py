"""Loops whose random numbers are drawn before they begin: the same results, and less inside the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from operant.algorithms.tabular.q_learning import QLearning
from operant.core.drivers import ahead
from operant.core.drivers.compiled import CompiledDriver
from operant.environments import make

LENGTH = 7
KEYS = jax.random.split(jax.random.key(3), LENGTH)
INPUTS = {"key": KEYS, "time": jnp.arange(LENGTH)}


def body(scale, root):
    """A step whose parts depend on nothing, on what is closed over, on its inputs, on the carry, and on several."""

    def step(carry, given):
        drawn = jax.random.normal(given["key"], (2,)) * scale  # inputs and what is closed over
        late = jax.random.uniform(jax.random.fold_in(root, given["time"]))  # a key that only the time makes anew
        fixed = jnp.sort(jnp.arange(4.0) * scale)[:2]
        where = jax.random.normal(jax.random.fold_in(given["key"], carry["count"]))  # a key that waits for the carry
        sums = jax.lax.cond(given["time"] % 2 == 0, lambda x: x + drawn, lambda x: x * late, carry["sums"]) + fixed
        after = {"sums": sums + where, "count": carry["count"] + 1}
        return after, (sums.sum(), given["time"] * 2, 5, drawn)  # of all stages, and a number

    return step


CARRY = {"sums": jnp.ones(2), "count": jnp.int32(4)}


def run(scan):
    return jax.jit(lambda scale, root, inputs: scan(body(scale, root), CARRY, inputs))


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_it_is_a_scan():
    given = jnp.float32(0.7), jax.random.key(5), INPUTS
    assert_same(run(ahead.scan)(*given), run(jax.lax.scan)(*given))


def test_it_is_a_scan_side_by_side():
    given = jnp.array([0.7, -1.2]), jax.random.split(jax.random.key(5), 2), INPUTS
    found, expected = (jax.vmap(run(scan), in_axes=(0, 0, None))(*given) for scan in (ahead.scan, jax.lax.scan))
    assert_same(found, expected)


def test_a_loop_of_a_carry_alone_and_one_of_inputs_alone():
    for step in (lambda carry, x: (carry * 2, carry), lambda carry, x: (carry, x * 2)):
        assert_same(ahead.scan(step, jnp.float32(1), jnp.arange(3)), jax.lax.scan(step, jnp.float32(1), jnp.arange(3)))


def primitives(jaxpr, loops):
    """The names of all primitives of `jaxpr` that are inside so many loops, or more."""
    found = []
    for equation in jaxpr.eqns:
        found += [equation.primitive.name] * (loops <= 0)
        within = loops - (equation.primitive.name in ("scan", "while"))
        for part in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(part, "jaxpr", part)
            found += primitives(inner, within) if hasattr(inner, "eqns") else []
    return found


def test_only_what_waits_for_the_carry_stays_in_the_loop():
    loop = body(jnp.float32(2), jax.random.key(5))
    plain, ours = (jax.make_jaxpr(lambda s=s: s(loop, CARRY, INPUTS))() for s in (jax.lax.scan, ahead.scan))
    count = lambda traced, name: primitives(traced.jaxpr, 1).count(name)  # noqa: E731
    assert [count(plain, name) for name in ("random_bits", "random_fold_in", "sort")] == [3, 2, 1]
    assert [count(ours, name) for name in ("random_bits", "random_fold_in", "sort")] == [1, 1, 0]


def test_effects_stay_where_they_are():
    def step(carry, x):
        jax.debug.callback(print, x)
        return carry, x

    traced = jax.make_jaxpr(lambda: ahead.scan(step, 0, jnp.arange(3)))()
    assert "debug_callback" in primitives(traced.jaxpr, 1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_random_number_is_drawn_inside_the_loop_of_an_online_learner(seeds):
    driver = CompiledDriver(QLearning(), make("CliffWalking-v1", backend="compiled"), 1, seeds)
    times = jnp.int32(0), jnp.int32(1), jnp.float32(1)
    chunk = jax.make_jaxpr(driver._batched(driver._chunk))(driver.algorithm, driver.template(), *times).jaxpr
    drawing = lambda loops: [name for name in primitives(chunk, loops) if name.startswith("random_")]  # noqa: E731
    assert drawing(1) and not drawing(2)  # of the two loops, over iterations and over their steps
