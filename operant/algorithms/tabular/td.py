"""TD(0): one-step temporal-difference prediction.

Source: Sutton 1988; Sutton & Barto 2018, section 6.1 (the box "Tabular TD(0) for estimating v_pi").

    1.    take A as the given policy says, observe R, S'
    2.    V(S) += alpha [R + discount V(S') - V(S)],  without the bootstrap where S' is terminal

Deviations from the book: a truncated episode bootstraps from its true final state.
"""

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context
from operant.equations import td_error
from operant.parts.component import component
from operant.parts.tabular.learners import Errors, Prediction, Row, State, StateValues, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.tables import TablePolicy, read


@component
class TD(StepByStep, Prediction):
    policy: TablePolicy = TablePolicy()
    learning_rate: Rate = 0.1
    discount: float = 1.0
    initial_value: float = 0.0

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        values = state.policy.values
        alpha, counts = step_size(self.learning_rate, state.counts, context.clock.progress, row.state)
        # 2.
        now, following = read(values, row.state), read(values, row.next_state)
        error = td_error(now, row.reward, row.continues, following, self.discount)
        values = values.at[row.state].add(alpha * error, mode="promise_in_bounds")
        return State(StateValues(values), counts, ()), (jnp.abs(error), 1.0)
