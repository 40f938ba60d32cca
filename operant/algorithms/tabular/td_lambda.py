"""TD(lambda): prediction with eligibility traces.

Source: Sutton 1988; Sutton & Barto 2018, section 12.2 (the box "Semi-gradient TD(lambda)"), section 12.5 (the box
"True online TD(lambda)"; van Seijen et al. 2016), with one feature a state.

    1.    take A as the given policy says, observe R, S'
    2.    delta = R + discount V(S') - V(S),  without V(S') where S' is terminal
    3.    z <- discount lambda z,  then in S: accumulating z + 1, replacing 1,
          dutch z + 1 - alpha z  (z after it decayed)
    4.    V += alpha delta z
          dutch also V += alpha (V(S) - V_old) (z - 1 in S),  V_old <- V(S') as it was in 2
    5.    where the episode ended z <- 0

Deviations from the book: a truncated episode bootstraps from its true final state.
"""

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.parts.component import component
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import Errors, Prediction, Row, State, StateValues, StepByStep
from operant.parts.tabular.tables import TablePolicy, num_states, read
from operant.parts.tabular.traces import Trace, Traces


@component
class TDLambda(StepByStep, Prediction):
    policy: TablePolicy = TablePolicy()
    trace_decay: float = 0.9  # the book's lambda
    traces: Traces = "dutch"
    learning_rate: Scalar = 0.1
    discount: float = 1.0
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec, Trace.none(spec.num_envs, num_states(spec.observation_space)))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        values, alpha = state.policy.values, at(self.learning_rate, context.clock.progress)
        # 2. - 4.
        following = row.continues * read(values, row.next_state)
        target, decay = row.reward + self.discount * following, self.discount * self.trace_decay
        values, trace, error = state.carried.learn(self.traces, values, (row.state,), target, following, alpha, decay)
        # 5.
        return State(StateValues(values), (), trace.cut(row.last)), (jnp.abs(error), 1.0)
