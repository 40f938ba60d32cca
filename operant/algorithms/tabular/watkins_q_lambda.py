"""Watkins's Q(lambda): Q-learning with eligibility traces, cut where an action was not greedy.

Source: Watkins 1989; Sutton & Barto 2018, section 12.10; the loop after the first edition (1998), figure 7.14.

    1.    from S take A by the exploration rule, observe R, S'
    2.    delta = R + discount max_a Q(S', a) - Q(S, A),  without the maximum where S' is terminal
    3.    z <- discount lambda z where A is greedy in S, else 0;  then in (S, A): accumulating z + 1, replacing 1
    4.    Q += alpha delta z
    5.    where the episode ended z <- 0

Deviations from the book: A is chosen, and called greedy or not, from the table after the update of the step before,
as in Q-learning, where the figure chooses it before; a truncated episode bootstraps from its true final state.
"""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.tables import num_actions, num_states, read
from operant.parts.tabular.traces import Trace


@component
class WatkinsQLambda(StepByStep, Control):
    trace_decay: float = 0.9  # the book's lambda
    traces: Literal["accumulating", "replacing"] = "replacing"
    learning_rate: Scalar = 0.1
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        return self.fresh(spec, Trace.none(spec.num_envs, *shape))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        table, alpha = state.policy.action_values, at(self.learning_rate, context.clock.progress)
        # 2. - 4.
        following = row.continues * jnp.max(read(table, row.next_state))
        target, place = row.reward + self.discount * following, (row.state, row.action)
        greedy = read(table, *place) == jnp.max(read(table, row.state))
        decay = self.discount * self.trace_decay * greedy
        table, trace, error = state.carried.learn(self.traces, table, place, target, following, alpha, decay)
        # 5.
        return State(ActionValues(table), (), trace.cut(row.last)), (jnp.abs(error), 1.0)
