"""Exploration rules: from action values to an action, with parameters that may follow a schedule.

Every rule answers two questions: which action to take (`select`), and how likely each was (`probabilities`, for
expected updates and importance weights). Both take action values `[B, A]`, the progress of training, and `counts`
`[B, A]`: how often each action was taken in the present state. Only rules with `needs_counts` read them; an algorithm
that keeps none refuses those. A rule is any component with these: those below, and users' own. Equal values are equally
likely, so that a table of zeros does not always act alike.
"""

import math
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component, shape
from operant.parts.schedules import Linear, Scalar, at


@shape("an exploration rule (a component with select, probabilities and needs_counts)")
@runtime_checkable
class Exploration(Protocol):
    """A rule that chooses actions while training."""

    needs_counts: ClassVar[bool]

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        ...

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        ...


@component
class Random:
    """Every action equally likely."""

    needs_counts: ClassVar[bool] = False

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return jax.random.randint(key, values.shape[:-1], 0, values.shape[-1])

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        return jnp.full(values.shape, 1.0 / values.shape[-1])


@component
class Greedy:
    """An action of the highest value."""

    needs_counts: ClassVar[bool] = False

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return _one_of_the_best(values, jax.random.uniform(key, values.shape[:-1]))

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(values)


@component
class EpsilonGreedy:
    """With probability `epsilon` an action drawn uniformly from all, otherwise a greedy one."""

    epsilon: Scalar = Linear(1.0, 0.05, over=0.5)
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_range(self, 0, 1, "epsilon")

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        # One draw for both questions: on a few environments, drawing is most of what acting costs.
        whether, which = jax.random.uniform(key, (2, *values.shape[:-1]))
        uniform = jnp.floor(which * values.shape[-1]).astype(jnp.int32)
        return jnp.where(whether < at(self.epsilon, progress), uniform, _one_of_the_best(values, which))

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        epsilon = at(self.epsilon, progress)
        return epsilon / values.shape[-1] + (1.0 - epsilon) * _shares_of_the_best(values)


@component
class Boltzmann:
    """Actions with probability proportional to exp(value / temperature)."""

    temperature: Scalar = 1.0
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_positive(self, "temperature")

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return jax.random.categorical(key, values / at(self.temperature, progress)).astype(jnp.int32)

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        return jax.nn.softmax(values / at(self.temperature, progress), axis=-1)


@component
class UCB:
    """The highest upper confidence bound, value + `width` sqrt(ln t / count) (Sutton & Barto 2018, eq. 2.10).

    t counts the visits of the state, the present one included; an action that was never taken comes first.
    """

    width: Scalar = 2.0
    needs_counts: ClassVar[bool] = True

    def check_ranges(self) -> None:
        check_range(self, 0, math.inf, "width")

    def select(self, key: Array, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """Actions int32 `[B]` for action values and counts `[B, A]`."""
        return _one_of_the_best(self.bounds(values, progress, counts), jax.random.uniform(key, values.shape[:-1]))

    def probabilities(self, values: Array, progress: Array, counts: Array | None = None) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(self.bounds(values, progress, counts))

    def bounds(self, values: Array, progress: Array, counts: Array | None) -> Array:
        """The upper confidence bounds, `[B, A]`."""
        assert counts is not None, "refuse_counts answers an algorithm that keeps no counts"
        visits = 1.0 + jnp.sum(counts, axis=-1, keepdims=True)
        bonus = at(self.width, progress) * jnp.sqrt(jnp.log(visits) / jnp.maximum(counts, 1))
        return jnp.where(counts > 0, values + bonus, jnp.inf)


def refuse_counts(exploration: Exploration, name: str) -> None:
    """Raise `OperantError` where a rule that needs counts is given to the algorithm `name`, which keeps none."""
    if exploration.needs_counts:
        raise OperantError(f"{name} keeps no counts of its actions, which {type(exploration).__name__} needs")


def is_soft(exploration: Exploration) -> bool:
    """Whether every action has a chance at all times, as importance sampling from this behaviour needs."""
    if isinstance(exploration, Random | Boltzmann):
        return True  # though float32 may round a chance to zero
    if exploration.needs_counts:
        return False
    values = jnp.array([[0.0, 1.0]])
    return all(bool(jnp.all(exploration.probabilities(values, jnp.float32(x)) > 0)) for x in (0.0, 0.5, 1.0))


def among(allowed: Array, which: Array) -> Array:
    """The action at the share `which` `[B]`, in [0, 1), of those that are `allowed` `[B, A]`; int32 `[B]`."""
    rank = jnp.cumsum(allowed, axis=-1)
    chosen = jnp.floor(which[..., None] * rank[..., -1:])
    return jnp.argmax(rank > chosen, axis=-1).astype(jnp.int32)


def _one_of_the_best(values: Array, which: Array) -> Array:
    """The action at the share `which` `[B]` of those with the highest value; int32 `[B]`."""
    return among(values == jnp.max(values, axis=-1, keepdims=True), which)


def _shares_of_the_best(values: Array) -> Array:
    """1 / k for the k actions with the highest value, 0 for the others; `[B, A]`."""
    best = values == jnp.max(values, axis=-1, keepdims=True)
    return best / jnp.sum(best, axis=-1, keepdims=True)
