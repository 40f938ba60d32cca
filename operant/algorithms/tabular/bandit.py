"""The simple bandit algorithm: action values as averages of the rewards that followed.

Source: Sutton & Barto 2018, section 2.4 (the box "A simple bandit algorithm"); eq. 2.5 with a constant learning rate.

    for each pull:
    1.    choose A by the exploration rule from Q and N (epsilon-greedy in the box), and receive R
    2.    N(A) += 1
    3.    Q(A) += alpha [R - Q(A)], where alpha is 1 / N(A) (`Visits`) or constant

An optimistic start (section 2.6) is a high `initial_value`, best with a constant learning rate: a sample average
forgets it at the first pull. Upper confidence bounds (section 2.7) are the rule `UCB`.

Deviations from the book: one row of the tables for each observation, so that a bandit with discrete contexts is served
too.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Online, Ratio, Spec, Window
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options
from operant.parts.tabular.learners import Errors, Row, State, in_turn
from operant.parts.tabular.rates import Rate, Visits, check_rate, step_size
from operant.parts.tabular.tables import num_actions, num_states, read, state_index


class Arms(NamedTuple):
    """What acting reads: `UCB` counts too."""

    action_values: Array  # Q, [S, A]
    counts: Array  # N, [S, A]


@component
class Bandit:
    learning_rate: Rate = Visits()
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        num_states(spec.observation_space)
        num_actions(spec.action_space)
        check_rate(self)

    def window(self) -> Online:
        return Online()

    def init(self, key: Array, spec: Spec) -> State:
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        return State(Arms(jnp.full(shape, self.initial_value, jnp.float32), jnp.zeros(shape)), (), ())

    def start(self, policy: Arms, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Arms, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        state = state_index(context.spec.observation_space, observation)
        values, counts = read(policy.action_values, state), read(policy.counts, state)
        if not explore:
            return memory, jnp.argmax(values, axis=-1).astype(jnp.int32), ()
        # 1.
        options = Options(values, counts=counts)
        return memory, self.exploration.select(key, options, context.clock.progress), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        state, errors = in_turn(self._update, state, window, key, context)
        return state, {"error": Ratio(*errors)}

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        (values, counts), at = state.policy, (row.state, row.action)
        alpha, _ = step_size(self.learning_rate, counts, context.clock.progress, *at)
        # 2.
        counts = counts.at[at].add(1.0, mode="promise_in_bounds")
        # 3.
        error = row.reward - read(values, *at)
        values = values.at[at].add(alpha * error, mode="promise_in_bounds")
        return state._replace(policy=Arms(values, counts)), (jnp.abs(error), 1.0)
