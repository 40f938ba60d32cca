"""Double Q-learning: two tables, one to choose the next action and one to value it.

Source: van Hasselt 2010; Sutton & Barto 2018, section 6.7 (the box "Double Q-learning").

    1.    from S take A by the exploration rule on Q1 + Q2, observe R, S'
    2.    with probability 1/2:
    3.        Q1(S, A) += alpha [R + discount Q2(S', argmax_a Q1(S', a)) - Q1(S, A)]
    4.    else the same with Q1 and Q2 exchanged;  without the bootstrap where S' is terminal

Deviations from the book: acting reads the mean of the tables, which orders actions as the sum does; a truncated
episode bootstraps from its true final state; of equal actions the argmax of 3 is the first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.equations import double_value, td_error
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration
from operant.parts.tabular.learners import Control, Errors, Row, State, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.tables import read


class DoubleValues(NamedTuple):
    """The policy: both tables."""

    tables: Array  # [2, S, A]

    @property
    def action_values(self) -> Array:
        """Their mean, `[S, A]`."""
        return jnp.mean(self.tables, axis=0)

    def at(self, state: Array) -> Array:
        """Mean action values `[..., A]` of the states numbered `[...]`."""
        return 0.5 * (read(self.tables[0], state) + read(self.tables[1], state))


@component
class DoubleQLearning(StepByStep, Control):
    learning_rate: Rate = 0.1
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        one = self.fresh(spec)
        twice = lambda table: jnp.stack([table, table])  # noqa: E731
        return State(DoubleValues(twice(one.policy.action_values)), jax.tree.map(twice, one.counts), ())

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        # 2. and 4. are one case with the first table exchanged.
        first = jax.random.bernoulli(key).astype(jnp.int32)
        tables, at = state.policy.tables, (first, row.state, row.action)
        alpha, counts = step_size(self.learning_rate, state.counts, context.clock.progress, *at)
        # 3.
        chooses, judges = read(tables, first, row.next_state), read(tables, 1 - first, row.next_state)
        error = td_error(read(tables, *at), row.reward, row.continues, double_value(judges, chooses), self.discount)
        tables = tables.at[at].add(alpha * error, mode="promise_in_bounds")
        return State(DoubleValues(tables), counts, ()), (jnp.abs(error), 1.0)
