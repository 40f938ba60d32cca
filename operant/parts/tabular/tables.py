"""Tables: the states of a finite observation space as numbers, and policies given as tables of probabilities."""

import math
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from jax import Array

from operant.contracts import Spec
from operant.errors import OperantError
from operant.parts.component import component
from operant.parts.encoders import children

LARGEST = 10**8  # states; a table of more is a mistake


def num_states(space: gymnasium.Space) -> int:
    """How many states `space` has. Raises `OperantError` where they cannot be numbered."""
    count = math.prod(_sizes(space))
    if count > LARGEST:
        raise OperantError(f"tabular learners need a table of states, and {space} has too many ({count:.1g})")
    return count


def num_actions(space: gymnasium.Space) -> int:
    """How many actions `space` has. Raises `OperantError` where it is not Discrete."""
    if not isinstance(space, Discrete):
        raise OperantError(f"tabular learners need Discrete actions, not {space}")
    return int(space.n)


def state_index(space: gymnasium.Space, observation: Any) -> Array:
    """The number of the state behind each observation of `space` with leading axes `[...]`: int32 `[...]`.

    Parts count in mixed radix, the last one fastest; those of a Dict in the order of their names. A number outside of
    the space is taken for the nearest one inside.
    """
    index: Any = None
    for digit, size in zip(_digits(space, observation), _sizes(space), strict=True):
        digit = jnp.clip(digit, 0, size - 1)
        index = digit if index is None else index * size + digit
    return index


def _sizes(space: gymnasium.Space) -> list[int]:
    """How many values each digit of a state's number has."""
    if isinstance(space, Discrete):
        return [int(space.n)]
    if isinstance(space, MultiDiscrete):
        return [int(n) for n in space.nvec.ravel()]
    if isinstance(space, MultiBinary):
        return [2] * math.prod(space.shape)
    if isinstance(space, Dict | Tuple):
        return [size for _, part in children(space) for size in _sizes(part)]
    raise OperantError(
        f"tabular learners need observations of Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of those, "
        f"not {space}"
    )


def _digits(space: gymnasium.Space, observation: Any) -> list[Array]:
    """The digits of each state's number, counted from 0; int32 `[...]` each."""
    if isinstance(space, Dict | Tuple):
        return [digit for name, part in children(space) for digit in _digits(part, observation[name])]
    numbers = jnp.asarray(observation).astype(jnp.int32)
    if isinstance(space, Discrete):
        return [numbers - np.int32(space.start)]
    lead = numbers.shape[: numbers.ndim - len(space.shape or ())]
    numbers = numbers.reshape(*lead, -1)
    starts = space.start.ravel() if isinstance(space, MultiDiscrete) else np.zeros(numbers.shape[-1])
    return [numbers[..., k] - np.int32(start) for k, start in enumerate(starts)]


def read(table: Array, *index: Array) -> Array:
    """`table[index]` for numbers known to be inside (those of `state_index`), without a guard on each."""
    return table.at[index].get(mode="promise_in_bounds")


@component
class TablePolicy:
    """A policy given as probabilities `[S][A]`, one row a state; without any, every action is equally likely."""

    probabilities: tuple[tuple[float, ...], ...] = ()

    @staticmethod
    def of(table: Any) -> "TablePolicy":
        """From an array `[S, A]` of probabilities."""
        return TablePolicy(tuple(tuple(map(float, row)) for row in np.asarray(table)))

    def check(self, spec: Spec) -> None:
        """Raise `OperantError` where this is no policy for the states and actions of `spec`."""
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        if not self.probabilities:
            return
        try:
            table = np.array(self.probabilities, float)
        except ValueError:
            table = np.zeros(())
        if table.shape != shape:
            raise OperantError(f"a table policy here needs {shape[0]} rows of {shape[1]} probabilities")
        wrong = ~((table >= 0).all(axis=1) & np.isclose(table.sum(axis=1), 1.0, atol=1e-6))
        if wrong.any():
            state = int(np.argmax(wrong))
            raise OperantError(f"a table policy's probabilities in state {state} are no distribution: {table[state]}")

    def table(self, spec: Spec) -> Array:
        """The probabilities as an array `[S, A]`."""
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        return jnp.asarray(self.probabilities, jnp.float32) if self.probabilities else jnp.full(shape, 1.0 / shape[1])

    def select(self, key: Array, state: Array, actions: int) -> Array:
        """Actions int32 `[B]`, of `actions` many, in the states numbered `[B]`."""
        uniform = jax.random.uniform(key, state.shape)
        if not self.probabilities:
            return jnp.floor(uniform * actions).astype(jnp.int32)
        # In float64 before it is rounded, so that the last possible action ends at 1 and an impossible one is empty.
        table = np.array(self.probabilities, float)
        ends = np.cumsum(table, axis=1) / table.sum(axis=1, keepdims=True)
        ends = read(jnp.asarray(ends, jnp.float32), state)
        return jnp.argmax(uniform[..., None] < ends, axis=-1).astype(jnp.int32)
