"""What learners of values in tables share: their state, acting on it, and the order of their updates.

Several environments teach one table. Their transitions are learned from one after the other, in the order of time and
then of their slots, each from the table that the one before left: what as many steps of one environment would do.
(Added up instead, equal transitions, such as the first of every environment, would multiply the learning rate and
diverge.)
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, get_args, get_type_hints

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Online, Outlook, Ratio, Spec, Window
from operant.errors import OperantError
from operant.parts.component import check_range
from operant.parts.exploration import Exploration, Options, refuse_counts
from operant.parts.tabular.rates import Rate, check_rate, start_counts
from operant.parts.tabular.tables import TablePolicy, num_actions, num_states, read, state_index


class ActionValues(NamedTuple):
    """The policy of a learner of action values: all that acting reads."""

    action_values: Array  # [S, A]

    def at(self, state: Array) -> Array:
        """Action values `[..., A]` of the states numbered `[...]`."""
        return read(self.action_values, state)


class StateValues(NamedTuple):
    """The values of the policy that a prediction follows."""

    values: Array  # [S]


class State(NamedTuple):
    """The state of a tabular learner."""

    policy: Any  # the table
    counts: Any  # how often each of its entries was learned, where the learning rate asks, or ()
    carried: Any  # [num_envs, ...]: what each stream carries from step to step (pending steps, traces), or ()


class Control:
    """Acting on a table of action values; mixed into the learners of one.

    A trained agent is greedy, the first of equals; while training, its exploration rule chooses among equals at
    random.
    """

    learning_rate: Rate
    discount: float
    exploration: Exploration
    initial_value: float

    def check(self, spec: Spec) -> None:
        _check(self, spec)
        refuse_counts(self.exploration, type(self).__name__)

    def fresh(self, spec: Spec, carried: Any = ()) -> State:
        """The state before the first step, every action worth `initial_value` (a high one is an optimistic start)."""
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        values = jnp.full(shape, self.initial_value, jnp.float32)
        return State(ActionValues(values), start_counts(self.learning_rate, shape), carried)

    def start(self, policy: Any, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        values = policy.at(state_index(context.spec.observation_space, observation))
        if not explore:
            return memory, jnp.argmax(values, axis=-1).astype(jnp.int32), ()
        return memory, self.exploration.select(key, Options(values), context.clock.progress), ()

    def outlook(self, policy: Any, memory: Any, observation: Any, context: Context) -> Outlook:
        return Outlook(policy.at(state_index(context.spec.observation_space, observation)))


class Prediction:
    """Acting by a given policy, whose state values are learned; mixed into the learners of those."""

    policy: TablePolicy
    learning_rate: Rate
    discount: float
    initial_value: float

    def check(self, spec: Spec) -> None:
        _check(self, spec)
        self.policy.check(spec)

    def fresh(self, spec: Spec, carried: Any = ()) -> State:
        """The state before the first step, every state worth `initial_value`."""
        shape = (num_states(spec.observation_space),)
        values = jnp.full(shape, self.initial_value, jnp.float32)
        return State(StateValues(values), start_counts(self.learning_rate, shape), carried)

    def start(self, policy: Any, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        # The policy is what is being judged, so that evaluating follows it too, chances and all.
        state = state_index(context.spec.observation_space, observation)
        return memory, self.policy.select(key, state, num_actions(context.spec.action_space)), ()


def _check(algorithm: Any, spec: Spec) -> None:
    """Raise `OperantError` where the problem has no table or a field is out of its range."""
    num_states(spec.observation_space)
    num_actions(spec.action_space)
    check_rate(algorithm)
    for name, low, high in (("discount", 0, 1), ("trace_decay", 0, 1), ("n", 1, math.inf)):
        if hasattr(algorithm, name):
            check_range(algorithm, low, high, name)
    if (kind := getattr(algorithm, "traces", None)) is not None:
        kinds = get_args(get_type_hints(type(algorithm))["traces"])
        if kind not in kinds:
            raise OperantError(f"{type(algorithm).__name__}'s traces must be one of {', '.join(kinds)}, not {kind!r}")


class Row(NamedTuple):
    """One transition of one environment; scalars."""

    state: Array  # int32
    action: Array  # int32
    reward: Array
    continues: Array  # 0 where the next state is terminal and has no value
    last: Array  # bool: the episode ended, either way
    next_state: Array  # int32


Errors: TypeAlias = tuple[Array, Array | float]  # the sum of absolute errors learned from, and their number


class Carrying(Protocol):
    """A learner's state with a part for each stream: `State`, or one of a learner that keeps more."""

    @property
    def carried(self) -> Any: ...

    def _replace(self, **fields: Any) -> Any: ...


S = TypeVar("S", bound=Carrying)


def in_turn(
    update: Callable[[S, Row, Array, Context], tuple[S, Errors]], state: S, window: Window, key: Array, context: Context
) -> tuple[S, Errors]:
    """`state` after `update(state, row, key, context)` has learned from each transition of `window`, one by one.

    `update` sees only its own stream's part of `carried`, without the leading axis.
    """
    steps = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), window.steps)
    space = context.spec.observation_space
    states, following = state_index(space, steps.observation), state_index(space, steps.next_observation)
    rows = Row(states, steps.action, steps.reward, steps.continues, steps.last, following)
    length, envs = window.steps.reward.shape
    alone = context.spec.num_envs == 1

    def learn(state: S, inputs: tuple) -> tuple[S, Errors]:
        row, slot, key = inputs
        mine = jax.tree.map(lambda leaf: leaf[0 if alone else slot], state.carried)
        new, errors = update(state._replace(carried=mine), row, key, context)
        put = lambda every, one: one[None] if alone else every.at[slot].set(one)  # noqa: E731
        carried = jax.tree.map(put, state.carried, new.carried)
        return new._replace(carried=carried), (errors[0], jnp.float32(errors[1]))

    if length * envs == 1:
        return learn(state, (jax.tree.map(lambda leaf: leaf[0], rows), window.slots[0], key))
    keys = jax.random.split(key, length * envs)
    state, errors = jax.lax.scan(learn, state, (rows, jnp.tile(window.slots, length), keys))
    return state, (jnp.sum(errors[0]), jnp.sum(errors[1]))


class StepByStep:
    """Learning from every step before the next action, as the books' loops do; mixed in before `Control`, `Prediction`.

    The learner itself says in `_update` what one transition teaches.
    """

    _update: Callable[[Any, Row, Array, Context], tuple[Any, Errors]]
    fresh: Callable[..., State]

    def window(self) -> Online:
        return Online()

    def init(self, key: Array, spec: Spec) -> Any:
        return self.fresh(spec)

    def learn(self, state: Any, window: Window, key: Array, context: Context) -> tuple[Any, dict[str, Any]]:
        state, errors = in_turn(self._update, state, window, key, context)
        return state, {"td_error": Ratio(*errors)}
