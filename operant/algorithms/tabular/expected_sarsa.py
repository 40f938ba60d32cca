"""Expected SARSA: on-policy TD control without the chance of the next action.

Source: van Seijen et al. 2009; Sutton & Barto 2018, section 6.6, equation 6.9.

    1.    from S take A by the exploration rule pi, observe R, S'
    2.    Q(S, A) += alpha [R + discount sum_a pi(a|S') Q(S', a) - Q(S, A)],  without the sum where S' is terminal

Deviations from the book: a truncated episode bootstraps from its true final state.
"""

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context
from operant.equations import expected_value, td_error
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.tables import read


@component
class ExpectedSARSA(StepByStep, Control):
    learning_rate: Rate = 0.5
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        table, at = state.policy.action_values, (row.state, row.action)
        alpha, counts = step_size(self.learning_rate, state.counts, context.clock.progress, *at)
        # 2.
        following = read(table, row.next_state)
        expected = expected_value(following, self.exploration.probabilities(Options(following), context.clock.progress))
        error = td_error(read(table, *at), row.reward, row.continues, expected, self.discount)
        table = table.at[at].add(alpha * error, mode="promise_in_bounds")
        return State(ActionValues(table), counts, ()), (jnp.abs(error), 1.0)
