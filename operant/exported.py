"""From an agent to a `NumpyPolicy`: the greedy `act` of one observation, traced by JAX into a table of operations.

Whatever the algorithm and the network are, tracing shows the same few primitives. Calls are flattened, what nothing
depends on is left out (the random key of a greedy action), and what depends on constants alone is computed here.
"""

from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box, Dict, Tuple
from jax.extend.core import Literal

from operant.contracts import Context
from operant.core import evaluation, keys, runtime
from operant.environments.spaces import environment_action
from operant.errors import OperantError
from operant.parts.encoders import canonical_dtype, children
from operant.portable.operations import PLAIN, SHAPED, operation
from operant.portable.policy import FORMAT, NumpyPolicy

# Primitives that only call a program of their own, and the parameter that holds it.
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "checkpoint": "jaxpr", "closed_call": "call_jaxpr"} | {
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
# What an operation has to know of a primitive's parameters; the others say how XLA is to do it.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "integer_pow": ("y",),
    "convert_element_type": ("new_dtype",),
    "broadcast_in_dim": ("shape", "broadcast_dimensions"),
    "reshape": ("new_sizes",),
    "transpose": ("permutation",),
    "squeeze": ("dimensions",),
    "slice": ("start_indices", "limit_indices", "strides"),
    "rev": ("dimensions",),
    "concatenate": ("dimension",),
    "stack": ("axis",),
    **{f"reduce_{name}": ("axes",) for name in ("sum", "prod", "max", "min", "and", "or")},
    "argmax": ("axes", "index_dtype"),
    "argmin": ("axes", "index_dtype"),
    "cumsum": ("axis", "reverse"),
    "iota": ("dtype", "shape", "dimension"),
    "dot_general": ("dimension_numbers",),
    "conv_general_dilated": ("window_strides", "padding", "dimension_numbers"),
}


class _Table:
    """Numbered values: inputs, constants, and instructions `(operation, arguments, options)`."""

    def __init__(self, inputs: int):
        self.inputs = list(range(inputs))
        self.values: list[Any] = [None] * inputs  # an array for a constant, a triple for an instruction

    def add(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def trace(self, jaxpr: Any, consts: Any, arguments: list[int]) -> list[int]:
        """Add a traced program that is given `arguments`; where its results are."""
        names: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        names |= {name: self.add(const) for name, const in zip(jaxpr.constvars, consts, strict=True)}

        def read(x: Any) -> int:
            literal: Any = x if isinstance(x, Literal) else None
            return names[x] if literal is None else self.add(np.asarray(literal.val, literal.aval.dtype))

        for equation in jaxpr.eqns:
            name, given = equation.primitive.name, [read(x) for x in equation.invars]
            if name in _CALLS:
                inner = equation.params[_CALLS[name]]
                results = self.trace(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
            elif name == "split":
                results = [self.add(("slice", given, options)) for options in _slices(equation)]
            else:
                known = _instruction(equation) if len(equation.outvars) == 1 else (name, None)
                results = [self.add((known[0], given, known[1])) for _ in equation.outvars]
            names |= dict(zip(equation.outvars, results, strict=True))
        return [read(x) for x in jaxpr.outvars]

    def program(self, outputs: list[int]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The instructions that `outputs` depend on, and the constants. Raises `OperantError` for what NumPy lacks."""
        needed = set(outputs)
        for k in reversed(range(len(self.values))):
            if k in needed and isinstance(self.values[k], tuple):
                needed.update(self.values[k][1])
        self._fold(needed)
        steps = [k for k in sorted(needed) if isinstance(self.values[k], tuple)]
        read = {j for k in steps for j in self.values[k][1]} | set(outputs)
        constants = [k for k in sorted(read - set(self.inputs)) if not isinstance(self.values[k], tuple)]
        place = {k: register for register, k in enumerate([*self.inputs, *constants, *steps])}
        instructions = [
            [name, [place[j] for j in given], options] for name, given, options in (self.values[k] for k in steps)
        ]
        tensors = {f"constant.{i}": np.asarray(self.values[k], order="C") for i, k in enumerate(constants)}
        table = {"constants": len(constants), "instructions": instructions, "outputs": [place[k] for k in outputs]}
        return table, tensors

    def _fold(self, needed: set[int]) -> None:
        """Compute what depends on constants alone."""
        for k in sorted(needed):
            if isinstance(self.values[k], tuple):
                name, given, options = self.values[k]
                if options is None:
                    chance = "it draws at random" if name.startswith("random_") else f"it needs JAX's {name!r}"
                    raise OperantError(f"this policy cannot be exported to NumPy: {chance}")
                if not any(j in self.inputs or isinstance(self.values[j], tuple) for j in given):
                    with np.errstate(all="ignore"):
                        self.values[k] = np.asarray(operation(name, options)(*(self.values[j] for j in given)))
            elif self.values[k] is not None:
                self.values[k] = np.asarray(self.values[k])


def _instruction(equation: Any) -> tuple[str, dict[str, Any] | None]:
    """An operation's name and options; None for the options of what there is no operation for."""
    name, told = equation.primitive.name, equation.params
    shapes = [x.aval.shape for x in equation.invars]
    if name == "gather":
        numbers, (table, places) = told["dimension_numbers"], shapes
        axes = places[-1]
        first, kept = tuple(range(axes)), table[axes:]
        rows = numbers.collapsed_slice_dims == numbers.start_index_map == first and told["slice_sizes"][axes:] == kept
        last = numbers.offset_dims == tuple(range(len(places) - 1, len(places) - 1 + len(kept)))
        plain = rows and last and not numbers.operand_batching_dims and "FILL" not in str(told["mode"])
        return ("take", {"axes": axes}) if plain else (name, None)
    if name == "round":
        return name, None
    unusual = {"lhs_dilation", "rhs_dilation", "feature_group_count", "batch_group_count"}
    if any(np.any(np.asarray(told[key]) != 1) for key in unusual & set(told)):
        return name, None
    if name == "select_n" and (len(shapes) != 3 or equation.invars[0].aval.dtype != np.bool_):
        return name, None
    if name in PLAIN:
        return name, {}
    return name, {key: _plain(told[key]) for key in _OPTIONS[name]} if name in SHAPED else None


def _slices(equation: Any) -> list[dict[str, Any]]:
    """The parts that a split makes, as slices."""
    shape, axis = equation.invars[0].aval.shape, equation.params["axis"]
    ends = np.cumsum(equation.params["sizes"])
    parts = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        starts, limits = [0] * len(shape), list(shape)
        starts[axis], limits[axis] = int(begin), int(end)
        parts.append({"start_indices": starts, "limit_indices": limits, "strides": None})
    return parts


def _plain(value: Any) -> Any:
    """A primitive's parameter as JSON has it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, int | np.integer) else np.dtype(value).name


def to_numpy(agent: Any) -> NumpyPolicy:
    """The greedy policy of an `Agent` as a `NumpyPolicy`. Raises `OperantError` where NumPy has no operation for it."""
    spec = agent._spec(1)
    context, space = Context(spec, evaluation.final_clock()), agent.action_space

    def act(memory: Any, observation: Any) -> Any:
        memory, action, _ = agent.algorithm.act(agent.policy, memory, observation, keys.root(0), context, explore=False)
        return memory, environment_action(space, action, jax.numpy)

    memory = agent.start(1)
    with runtime.narrow():
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), agent._example)
        traced = jax.make_jaxpr(act)(memory, example)
    fresh = [np.asarray(leaf) for leaf in jax.tree.leaves(memory)]
    table = _Table(len(traced.jaxpr.invars))
    *after, action = table.trace(traced.jaxpr, traced.consts, table.inputs)
    if isinstance(space, Box) and space.dtype != np.float32:
        wide = table.add(("convert_element_type", [action], {"new_dtype": space.dtype.name}))
        low, high = (table.add(np.broadcast_to(bound, (1, *space.shape))) for bound in (space.low, space.high))
        action = table.add(("clamp", [low, wide, high], {}))  # float32's nearest may be past a bound
    program, tensors = table.program([*after, action])
    told = {"format": FORMAT, "name": repr(agent), "observation": _told(agent.observation_space), "memory": len(fresh)}
    return NumpyPolicy(told | program, tensors | {f"memory.{k}": leaf for k, leaf in enumerate(fresh)})


def _told(space: gymnasium.Space) -> dict[str, Any]:
    """An observation space as the policy has to know it: names, shapes and dtypes."""
    if isinstance(space, Dict | Tuple):
        parts = [(name, _told(part)) for name, part in children(space)]
        return {"dict": dict(parts)} if isinstance(space, Dict) else {"tuple": [part for _, part in parts]}
    return {"shape": list(space.shape or ()), "dtype": canonical_dtype(space.dtype).name}
