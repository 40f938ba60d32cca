"""SARSA: on-policy TD control.

Source: Rummery & Niranjan 1994; Sutton & Barto 2018, section 6.4 (the box "Sarsa").

    1.    from S take A, observe R, S'
    2.    choose A' from S' by the exploration rule
    3.    Q(S, A) += alpha [R + discount Q(S', A') - Q(S, A)],  without the bootstrap where S' is terminal
    4.    S <- S', A <- A'

A step waits until the next action is known, which is when the next step is learned from; that action was chosen, as
in the book, from the table before the waiting step's own update. The last step of an episode waits for nothing.

Deviations from the book: a truncated episode bootstraps from its true final state and an action drawn there.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.equations import td_error
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.tables import read


class Pending(NamedTuple):
    """The step that waits for its next action, where `waits`; `[num_envs]`."""

    state: Array
    action: Array
    reward: Array
    waits: Array


@component
class SARSA(StepByStep, Control):
    learning_rate: Rate = 0.5
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        none = jnp.zeros(spec.num_envs)
        return self.fresh(spec, Pending(jnp.int32(none), jnp.int32(none), none, none.astype(bool)))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        progress, before = context.clock.progress, state.carried
        # 2. - 3. of the step that waited: this row's action is its A'.
        state, waited = self._learned(state, before, 1.0, (row.state, row.action), before.waits, progress)
        # ... and of this one where no action will follow.
        following = read(state.policy.action_values, row.next_state)
        drawn = self.exploration.select(key, Options(following[None]), progress)[0]
        now = Pending(row.state, row.action, row.reward, ~row.last)
        state, ended = self._learned(state, now, row.continues, (row.next_state, drawn), row.last, progress)
        # 4.
        errors = jnp.abs(waited) + jnp.abs(ended)
        return state._replace(carried=now), (errors, jnp.float32(before.waits) + jnp.float32(row.last))

    def _learned(
        self, state: State, step: Pending, continues: Array | float, following: tuple, where: Array, progress: Array
    ) -> tuple[State, Array]:
        """`state` after `step`, followed by the state and action `following`; and its error. Only `where` true."""
        table, at, where = state.policy.action_values, (step.state, step.action), jnp.float32(where)
        alpha, counts = step_size(self.learning_rate, state.counts, progress, *at, times=where)
        error = where * td_error(read(table, *at), step.reward, continues, read(table, *following), self.discount)
        table = table.at[at].add(alpha * error, mode="promise_in_bounds")
        return state._replace(policy=ActionValues(table), counts=counts), error
