"""Exploration rules: from action values to an action, with parameters that may follow a schedule.

Every rule answers two questions: which action to take (`select`), and how likely each was (`probabilities`, for
expected updates and importance weights). Both take the `Options` and the progress of training.

A rule is any component with these: those below, and users' own. Equal values are equally likely, so that a table of
zeros does not always act alike.
"""

import math
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from gymnasium.spaces import Discrete
from jax import Array

from operant.contracts import Spec
from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component, shape
from operant.parts.masks import masked, restricted
from operant.parts.schedules import Linear, Scalar, at
from operant.workers.masking import check_mask, has_mask


class Options(NamedTuple):
    """What there is to choose from, for B environments.

    Only rules with `needs_counts` read the counts; an algorithm that keeps none refuses those.
    """

    values: Array  # [B, A]; of actions that are not legal, the lowest number there is
    legal: Array | None = None  # bool [B, A], at least one in each row; None: all are
    counts: Array | None = None  # [B, A]: how often each action was taken in the present state


@shape("an exploration rule (a component with select, probabilities and needs_counts)")
@runtime_checkable
class Exploration(Protocol):
    """A rule that chooses actions while training."""

    needs_counts: ClassVar[bool]

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        ...

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        ...


@component
class Random:
    """Every legal action equally likely."""

    needs_counts: ClassVar[bool] = False

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        values, legal, _ = options
        if legal is not None:
            return among(legal, jax.random.uniform(key, values.shape[:-1]))
        return jax.random.randint(key, values.shape[:-1], 0, values.shape[-1])

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        return jnp.full(options.values.shape, _parts_of(1.0, options))


@component
class Greedy:
    """An action of the highest value."""

    needs_counts: ClassVar[bool] = False

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        return _one_of_the_best(options.values, jax.random.uniform(key, options.values.shape[:-1]))

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(options.values)


@component
class EpsilonGreedy:
    """With probability `epsilon` an action drawn uniformly from all that are legal, otherwise a greedy one."""

    epsilon: Scalar = Linear(1.0, 0.05, over=0.5)
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_range(self, 0, 1, "epsilon")

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        values, legal, _ = options
        # One draw for both questions: on a few environments, drawing is most of what acting costs.
        whether, which = jax.random.uniform(key, (2, *values.shape[:-1]))
        uniform = jnp.floor(which * values.shape[-1]).astype(jnp.int32) if legal is None else among(legal, which)
        return jnp.where(whether < at(self.epsilon, progress), uniform, _one_of_the_best(values, which))

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        epsilon = at(self.epsilon, progress)
        return _parts_of(epsilon, options) + (1.0 - epsilon) * _shares_of_the_best(options.values)


@component
class Boltzmann:
    """Actions with probability proportional to exp(value / temperature)."""

    temperature: Scalar = 1.0
    needs_counts: ClassVar[bool] = False

    def check_ranges(self) -> None:
        check_positive(self, "temperature")

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        return jax.random.categorical(key, options.values / at(self.temperature, progress)).astype(jnp.int32)

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        return jax.nn.softmax(options.values / at(self.temperature, progress), axis=-1)


@component
class UCB:
    """The highest upper confidence bound, value + `width` sqrt(ln t / count) (Sutton & Barto 2018, eq. 2.10).

    t counts the visits of the state, the present one included; an action that was never taken comes first.
    """

    width: Scalar = 2.0
    needs_counts: ClassVar[bool] = True

    def check_ranges(self) -> None:
        check_range(self, 0, math.inf, "width")

    def select(self, key: Array, options: Options, progress: Array) -> Array:
        """The actions to take, int32 `[B]`."""
        return _one_of_the_best(self.bounds(options, progress), jax.random.uniform(key, options.values.shape[:-1]))

    def probabilities(self, options: Options, progress: Array) -> Array:
        """The probability of each action, `[B, A]`."""
        return _shares_of_the_best(self.bounds(options, progress))

    def bounds(self, options: Options, progress: Array) -> Array:
        """The upper confidence bounds, `[B, A]`; of an action that is not legal, the lowest number there is."""
        values, legal, counts = options
        assert counts is not None, "refuse_counts answers an algorithm that keeps no counts"
        visits = 1.0 + jnp.sum(counts, axis=-1, keepdims=True)
        bonus = at(self.width, progress) * jnp.sqrt(jnp.log(visits) / jnp.maximum(counts, 1))
        return masked(jnp.where(counts > 0, values + bonus, jnp.inf), legal)


def legal_options(values: Array, legal: Array | None) -> Options:
    """A choice by action values `[B, A]` among the actions that are `legal` `[B, A]`; None: among all."""
    return Options(restricted(values, legal), legal)


def check_choice(rule: Exploration, spec: Spec, name: str) -> None:
    """Raise `OperantError` where `rule` cannot choose among the actions of `spec` for the deep learner `name`."""
    if not isinstance(spec.action_space, Discrete):
        raise OperantError(f"{name} needs Discrete actions, not {spec.action_space}: ppo serves those")
    refuse_counts(rule, name)
    check_masks(rule, spec)


def check_masks(rule: Exploration, spec: Spec) -> None:
    """Raise `OperantError` where the observations' mask does not fit the actions, or `rule` does not keep to masks."""
    check_mask(spec.observation_space, spec.action_space)
    if not has_mask(spec.observation_space):
        return
    # Asked where only the first action is legal, or only the last: that one must then be certain.
    only = jnp.array([0, int(spec.action_space.n) - 1])  # type: ignore[attr-defined]
    legal = only[:, None] == jnp.arange(int(only[1]) + 1)[None]
    options = legal_options(jnp.zeros(legal.shape), legal)
    certain = all(bool(jnp.all((chances > 0) == legal)) for chances in _over_training(rule, options))
    if not certain or bool(jnp.any(rule.select(jax.random.key(0), options, jnp.float32(0)) != only)):
        raise OperantError(f"{type(rule).__name__} may take actions that are not legal: it has to heed `options.legal`")


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
    options = Options(jnp.array([[0.0, 1.0]]))
    return all(bool(jnp.all(chances > 0)) for chances in _over_training(exploration, options))


def among(allowed: Array, which: Array) -> Array:
    """The action at the share `which` `[B]`, in [0, 1), of those that are `allowed` `[B, A]`; int32 `[B]`."""
    rank = jnp.cumsum(allowed, axis=-1)
    chosen = jnp.floor(which[..., None] * rank[..., -1:])
    return jnp.argmax(rank > chosen, axis=-1).astype(jnp.int32)


def _over_training(rule: Exploration, options: Options) -> list[Array]:
    """The probabilities `[B, A]` at the start of training, in its middle and at its end."""
    return [rule.probabilities(options, jnp.float32(progress)) for progress in (0.0, 0.5, 1.0)]


def _one_of_the_best(values: Array, which: Array) -> Array:
    """The action at the share `which` `[B]` of those with the highest value; int32 `[B]`."""
    return among(values == jnp.max(values, axis=-1, keepdims=True), which)


def _parts_of(whole: Array | float, options: Options) -> Array | float:
    """`whole` / k for the k legal actions, 0 for the others; `[B, A]`, or one number for all."""
    values, legal, _ = options
    return whole / values.shape[-1] if legal is None else legal * (whole / jnp.sum(legal, axis=-1, keepdims=True))


def _shares_of_the_best(values: Array) -> Array:
    """1 / k for the k actions with the highest value, 0 for the others; `[B, A]`."""
    best = values == jnp.max(values, axis=-1, keepdims=True)
    return best / jnp.sum(best, axis=-1, keepdims=True)
