"""Prioritised sweeping: planning from a learned model, where a change matters most first.

Source: Moore & Atkeson 1993; Peng & Williams 1993; Sutton & Barto 2018, section 8.4 (the box "Prioritized sweeping for
a deterministic environment").

    for each step:
    1.    from S take A by the exploration rule, observe R, S';  Model(S, A) <- R, S'
    2.    P <- |R + discount max_a Q(S', a) - Q(S, A)|;  if P > threshold, S, A waits with priority P
    3.    `planning_steps` times, while anything waits:
    4.        S, A <- what waits with the highest priority, which waits no more;  R, S' <- Model(S, A)
    5.        Q(S, A) += alpha [R + discount max_a Q(S', a) - Q(S, A)]
    6.        for all S_, A_ that the model expects to lead to S, with reward R_:
    7.            P <- |R_ + discount max_a Q(S, a) - Q(S_, A_)|;  if P > threshold, S_, A_ waits with priority P

What waits already keeps the higher of its priorities. The queue is a table of priorities, 0 where nothing waits: a
planning step reads it whole, which on tables of thousands is faster than a heap inside a compiled program.

Deviations from the book: where a state is terminal its value is zero by mask; a truncated episode bootstraps from its
true final state.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.equations import td_error
from operant.parts.component import check_range, component
from operant.parts.exploration import EpsilonGreedy, Exploration
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.table_model import Model, Outcome, fresh_model, recall, remember
from operant.parts.tabular.tables import read


class State(NamedTuple):
    policy: ActionValues
    counts: Any
    model: Model
    priorities: Array  # [S, A]
    carried: tuple[()]


@component
class PrioritisedSweeping(StepByStep, Control):
    learning_rate: Rate = 0.5
    discount: float = 0.95
    exploration: Exploration = EpsilonGreedy(0.1)
    planning_steps: int = 5
    threshold: float = 1e-4
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        Control.check(self, spec)
        check_range(self, 1, math.inf, "planning_steps")
        check_range(self, 0, math.inf, "threshold")

    def init(self, key: Array, spec: Spec) -> State:
        policy, counts, carried = self.fresh(spec)
        shape = policy.action_values.shape
        return State(policy, counts, fresh_model(shape), jnp.zeros(shape), carried)

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        table, at = state.policy.action_values, (row.state, row.action)
        # 1.
        seen = Outcome(row.reward, row.continues, row.next_state)
        model = remember(state.model, *at, seen)
        # 2.
        error = jnp.abs(self._error(table, *at, seen))
        waiting = state.priorities.at[at].max(jnp.where(error > self.threshold, error, 0.0))

        def going(loop: tuple) -> Array:
            return (loop[0] < self.planning_steps) & jnp.any(loop[-1] > 0)

        # 3.
        def plan(loop: tuple) -> tuple:
            k, table, counts, waiting = loop
            # 4.
            first = divmod(jnp.argmax(waiting), waiting.shape[1])
            waiting = waiting.at[first].set(0.0)
            # 5.
            alpha, counts = step_size(self.learning_rate, counts, context.clock.progress, *first)
            table = table.at[first].add(alpha * self._error(table, *first, recall(model, *first)))
            # 6.
            (rewards, continues, targets), value = model.outcomes, jnp.max(read(table, first[0]))
            leads = model.tried & (targets == first[0]) & (continues > 0)
            # 7.
            errors = jnp.abs(rewards + self.discount * value - table)
            waiting = jnp.where(leads & (errors > self.threshold), jnp.maximum(waiting, errors), waiting)
            return k + 1, table, counts, waiting

        loop = jnp.int32(0), table, state.counts, waiting
        _, table, counts, waiting = jax.lax.while_loop(going, plan, loop)
        return State(ActionValues(table), counts, model, waiting, state.carried), (error, 1.0)

    def _error(self, table: Array, state: Array, action: Array, outcome: Outcome) -> Array:
        following = jnp.max(read(table, outcome.next_state))
        return td_error(read(table, state, action), outcome.reward, outcome.continues, following, self.discount)
