"""Exploration rules: from action values to an action, with parameters that may follow a schedule.

Every rule answers two questions: which action to take (`select`), and how likely each was (`probabilities`, for
expected updates and importance weights). Both take action values `[B, A]` and the progress of training, and perhaps:

- `counts` `[B, A]`: how often each action was taken in the present state. Only rules with `needs_counts` read them; an
  algorithm that keeps none refuses those.
- `legal` bool `[B, A]`, at least one in each row: which actions may be taken. The values of the others are the lowest
  number there is. `choose` and `chances` ask a rule so.

A rule is any component with these: those below, and users' own. Equal values are equally likely, so that a table of
zeros does not always act alike.
"""

import inspect
import math
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component, shape
from operant.parts.masks import masked, restricted
from operant.parts.schedules import Linear, Scalar, at
from operant.workers.masking import check_mask, has_mask


@shape("an exploration rule (a component with select, probabilities and needs_counts)")
@runtime_checkable
class Exploration(Protocol):
    """A rule that chooses actions while training."""

    needs_counts: ClassVar[bool]

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        ...

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """The probability of each action, `[B, A]`."""
        ...


@component
class Random:
    """Every legal action equally likely."""

    needs_counts: ClassVar[bool] = False

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        if legal is not None:
            return among(legal, jax.random.uniform(key, values.shape[:-1]))
        return jax.random.randint(key, values.shape[:-1], 0, values.shape[-1])

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """The probability of each action, `[B, A]`."""
        return jnp.full(values.shape, _parts_of(1.0, values, legal))


@component
class Greedy:
    """An action of the highest value."""

    needs_counts: ClassVar[bool] = False

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return _one_of_the_best(values, jax.random.uniform(key, values.shape[:-1]))

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(values)


@component
class EpsilonGreedy:
    """With probability `epsilon` an action drawn uniformly from all that are legal, otherwise a greedy one."""

    epsilon: Scalar = Linear(1.0, 0.05, over=0.5)
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_range(self, 0, 1, "epsilon")

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        # One draw for both questions: on a few environments, drawing is most of what acting costs.
        whether, which = jax.random.uniform(key, (2, *values.shape[:-1]))
        uniform = jnp.floor(which * values.shape[-1]).astype(jnp.int32) if legal is None else among(legal, which)
        return jnp.where(whether < at(self.epsilon, progress), uniform, _one_of_the_best(values, which))

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """The probability of each action, `[B, A]`."""
        epsilon = at(self.epsilon, progress)
        return _parts_of(epsilon, values, legal) + (1.0 - epsilon) * _shares_of_the_best(values)


@component
class Boltzmann:
    """Actions with probability proportional to exp(value / temperature)."""

    temperature: Scalar = 1.0
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_positive(self, "temperature")

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values `[B, A]`."""
        return jax.random.categorical(key, values / at(self.temperature, progress)).astype(jnp.int32)

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
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

    def select(
        self, key: Array, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """Actions int32 `[B]` for action values and counts `[B, A]`."""
        return _one_of_the_best(
            masked(self.bounds(values, progress, counts), legal), jax.random.uniform(key, values.shape[:-1])
        )

    def probabilities(
        self, values: Array, progress: Array, counts: Array | None = None, legal: Array | None = None
    ) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(masked(self.bounds(values, progress, counts), legal))

    def bounds(self, values: Array, progress: Array, counts: Array | None) -> Array:
        """The upper confidence bounds, `[B, A]`."""
        assert counts is not None, "refuse_counts answers an algorithm that keeps no counts"
        visits = 1.0 + jnp.sum(counts, axis=-1, keepdims=True)
        bonus = at(self.width, progress) * jnp.sqrt(jnp.log(visits) / jnp.maximum(counts, 1))
        return jnp.where(counts > 0, values + bonus, jnp.inf)


def choose(rule: Exploration, key: Array, values: Array, progress: Array, legal: Array | None) -> Array:
    """Actions int32 `[B]` by `rule`, from those that are `legal`; None: from all. Consumes `key`."""
    if legal is None:
        return rule.select(key, values, progress)
    return rule.select(key, restricted(values, legal), progress, legal=legal)


def chances(rule: Exploration, values: Array, progress: Array, legal: Array | None) -> Array:
    """The probabilities `[B, A]` with which `choose` chooses."""
    if legal is None:
        return rule.probabilities(values, progress)
    return rule.probabilities(restricted(values, legal), progress, legal=legal)


def check_masks(rule: Exploration, spec: Spec) -> None:
    """Raise `OperantError` where the observations' mask does not fit the actions, or a rule cannot be told of it."""
    check_mask(spec.observation_space, spec.action_space)
    asked = inspect.signature(rule.select).parameters, inspect.signature(rule.probabilities).parameters
    if has_mask(spec.observation_space) and not all("legal" in names for names in asked):
        raise OperantError(f"{type(rule).__name__} cannot be told which actions are legal: it takes no `legal`")


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


def _parts_of(whole: Array | float, values: Array, legal: Array | None) -> Array | float:
    """`whole` / k for the k legal actions, 0 for the others; `[B, A]`, or one number for all."""
    return whole / values.shape[-1] if legal is None else legal * (whole / jnp.sum(legal, axis=-1, keepdims=True))


def _shares_of_the_best(values: Array) -> Array:
    """1 / k for the k actions with the highest value, 0 for the others; `[B, A]`."""
    best = values == jnp.max(values, axis=-1, keepdims=True)
    return best / jnp.sum(best, axis=-1, keepdims=True)
