"""SARSA(lambda): on-policy control with eligibility traces.

Source: Rummery & Niranjan 1994; Sutton & Barto 2018, section 12.7 (the boxes "Sarsa(lambda) with binary features" and
"True online Sarsa(lambda)"), with one feature a pair of state and action.

    1.    from S take A, observe R, S', and choose A' from S' by the exploration rule
    2.    delta = R + discount Q(S', A') - Q(S, A),  without Q(S', A') where S' is terminal
    3.    z <- discount lambda z,  then in (S, A): accumulating z + 1, replacing 1,
          dutch z + 1 - alpha z  (z after it decayed)
    4.    Q += alpha delta z
          dutch also Q += alpha (Q(S, A) - Q_old) (z - 1 in (S, A)),  Q_old <- Q(S', A') as it was in 2
    5.    where the episode ended z <- 0

A step waits until the next action is known, as in SARSA.

Deviations from the book: a truncated episode bootstraps from its true final state and an action drawn there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.tables import num_actions, num_states, read
from operant.parts.tabular.traces import Trace, Traces


class Carried(NamedTuple):
    """The trace, and the step that waits for its next action, where `waits`; `[num_envs, ...]`."""

    trace: Trace
    state: Array
    action: Array
    reward: Array
    waits: Array


@component
class SARSALambda(StepByStep, Control):
    trace_decay: float = 0.9  # the book's lambda
    traces: Traces = "dutch"
    learning_rate: Scalar = 0.1
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        trace = Trace.none(spec.num_envs, num_states(spec.observation_space), num_actions(spec.action_space))
        none = jnp.zeros(spec.num_envs)
        return self.fresh(spec, Carried(trace, jnp.int32(none), jnp.int32(none), none, none.astype(bool)))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        progress, table, before = context.clock.progress, state.policy.action_values, state.carried
        one = jnp.float32(1)
        # 1. - 4. of the step that waited: this row's action is its A'.
        table, trace, waited = self._learned(table, before, one, (row.state, row.action), before.waits, progress)
        # ... and of this one where no action will follow.
        drawn = self.exploration.select(key, Options(read(table, row.next_state)[None]), progress)[0]
        now = Carried(trace, row.state, row.action, row.reward, ~row.last)
        table, trace, ended = self._learned(table, now, row.continues, (row.next_state, drawn), row.last, progress)
        # 5.
        now = now._replace(trace=trace.cut(row.last))
        counts = jnp.float32(before.waits) + jnp.float32(row.last)
        return State(ActionValues(table), (), now), (jnp.abs(waited) + jnp.abs(ended), counts)

    def _learned(
        self, table: Array, step: Carried, continues: Array, following: tuple, where: Array, progress: Array
    ) -> tuple[Array, Trace, Array]:
        """Table, trace and error after `step`, followed by the state and action `following`; only `where` true."""
        alpha, decay = at(self.learning_rate, progress), self.discount * self.trace_decay
        value = continues * read(table, *following)
        target, place = step.reward + self.discount * value, (step.state, step.action)
        learned = step.trace.learn(self.traces, table, place, target, value, alpha, decay)
        old = table, step.trace, jnp.float32(0)
        return jax.tree.map(lambda new, old: jnp.where(where, new, old), learned, old)
