"""Loops whose random numbers are drawn before they begin.

The body of a scan computes much that does not depend on what the loop carries: keys, draws, schedules, fresh starts. A
few numbers at a time these cost more than all else in a small step; for all steps at once, next to nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
from jax.core import eval_jaxpr
from jax.extend.core import JaxprEqn, Var

C = TypeVar("C")

FIXED, AHEAD, LOOP = range(3)  # the same in every step; given by a step's inputs alone; by what the loop carries too


def scan(body: Callable[[C, Any], tuple[C, Any]], carry: C, inputs: Any) -> tuple[C, Any]:
    """`jax.lax.scan(body, carry, inputs)`; what `inputs` alone decide is computed for all steps before the loop.

    It is kept for all steps until each has come, which takes memory: the number of steps times what one of them draws.
    """
    first = jax.tree.map(lambda leaf: leaf[0], inputs)
    traced, shapes = jax.make_jaxpr(body, return_shape=True)(carry, first)
    jaxpr, carried = traced.jaxpr, len(jax.tree.leaves(carry))
    stages: dict[Any, int] = dict.fromkeys(jaxpr.constvars, FIXED)
    stages |= dict.fromkeys(jaxpr.invars[:carried], LOOP) | dict.fromkeys(jaxpr.invars[carried:], AHEAD)
    equations: tuple[list[JaxprEqn], ...] = ([], [], [])
    for equation in jaxpr.eqns:
        stage = LOOP if equation.effects else max((stages[name] for name in _variables(equation.invars)), default=FIXED)
        stages |= dict.fromkeys(equation.outvars, stage)
        equations[stage].append(equation)
    read = dict.fromkeys(_variables([*jaxpr.outvars, *(name for equation in jaxpr.eqns for name in equation.invars)]))
    fixed, ahead = ([name for name in read if stages[name] == stage] for stage in (FIXED, AHEAD))

    def part(stage: int, given: list[Var], wanted: list[Any]) -> Callable[..., list[Any]]:
        part = jaxpr.replace(constvars=[], invars=given, outvars=wanted, eqns=equations[stage])
        return lambda *values: eval_jaxpr(part, (), *values)

    known = part(FIXED, jaxpr.constvars, fixed)(*traced.consts)
    draw = part(AHEAD, fixed + jaxpr.invars[carried:], ahead)
    proceed = part(LOOP, fixed + ahead + jaxpr.invars[:carried], jaxpr.outvars)

    def step(carry: C, drawn: list[Any]) -> tuple[C, Any]:
        return jax.tree.unflatten(jax.tree.structure(shapes), proceed(*known, *drawn, *jax.tree.leaves(carry)))

    drawn = jax.vmap(lambda given: draw(*known, *jax.tree.leaves(given)))(inputs)
    return jax.lax.scan(step, carry, drawn, length=len(jax.tree.leaves(inputs)[0]))


def _variables(names: Iterable[Any]) -> list[Var]:
    """Those that are no literals."""
    return [name for name in names if isinstance(name, Var)]
