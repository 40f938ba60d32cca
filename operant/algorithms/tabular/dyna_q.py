"""Dyna-Q and Dyna-Q+: Q-learning from experience and, between two steps, from a model of it.

Source: Sutton 1990; Sutton & Barto 2018, section 8.2 (the box "Tabular Dyna-Q") and section 8.3 (Dyna-Q+).

    for each step:
    1.    from S take A by the exploration rule, observe R, S'
    2.    Q(S, A) += alpha [R + discount max_a Q(S', a) - Q(S, A)]
    3.    Model(S, A) <- R, S'
    4.    `planning_steps` times:
    5.        S <- a state visited before, A <- an action tried in it before, both at random;  R, S' <- Model(S, A)
    6.        Q(S, A) += alpha [R + discount max_a Q(S', a) - Q(S, A)]

With a `bonus` kappa this is Dyna-Q+: in 5. every action is drawn from, one that was never tried is expected to stay and
be paid nothing, and to R is added kappa sqrt(tau), where tau is how many steps ago A was last tried in S (its first
trial counted from the beginning).

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
from operant.parts.exploration import EpsilonGreedy, Exploration, among
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, StepByStep
from operant.parts.tabular.rates import Rate, step_size
from operant.parts.tabular.table_model import Model, Outcome, fresh_model, recall, remember
from operant.parts.tabular.tables import read


class State(NamedTuple):
    policy: ActionValues
    counts: Any
    model: Model
    visited: Array  # int32 [S]: states in the order of their first visit ...
    number: Array  # int32: ... and how many they are
    tried_at: Array  # int32 [S, A]: the time of the last trial
    time: Array  # int32: steps so far
    carried: tuple[()]


@component
class DynaQ(StepByStep, Control):
    learning_rate: Rate = 0.1
    discount: float = 0.95
    exploration: Exploration = EpsilonGreedy(0.1)
    planning_steps: int = 10
    bonus: float | None = None  # kappa: with it Dyna-Q+
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        Control.check(self, spec)
        check_range(self, 0, math.inf, "planning_steps", "bonus")

    def init(self, key: Array, spec: Spec) -> State:
        policy, counts, carried = self.fresh(spec)
        shape, zero = policy.action_values.shape, jnp.int32(0)
        visited = jnp.zeros(shape[0], jnp.int32)
        tried_at = jnp.zeros(shape, jnp.int32)
        return State(policy, counts, fresh_model(shape), visited, zero, tried_at, jnp.zeros_like(zero), carried)

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        progress = context.clock.progress
        # 2.
        seen = Outcome(row.reward, row.continues, row.next_state)
        learned, error = self._improve(
            (state.policy.action_values, state.counts), row.state, row.action, seen, progress
        )
        # 3.
        new = ~jnp.any(read(state.model.tried, row.state))
        model = remember(state.model, row.state, row.action, seen)
        visited = state.visited.at[jnp.where(new, state.number, state.visited.size)].set(row.state, mode="drop")
        number, time = state.number + new, state.time + 1
        tried_at = state.tried_at.at[row.state, row.action].set(time)

        # 4.
        def plan(learned: tuple, draws: Array) -> tuple[tuple, None]:
            # 5.
            here = read(visited, jnp.floor(draws[0] * number).astype(jnp.int32))
            tried = read(model.tried, here)
            action = among(tried if self.bonus is None else jnp.ones_like(tried), draws[1])
            outcome = recall(model, here, action)
            if self.bonus is not None:
                waited = (time - read(tried_at, here, action)).astype(jnp.float32)
                outcome = outcome._replace(reward=outcome.reward + self.bonus * jnp.sqrt(waited))
            # 6.
            return self._improve(learned, here, action, outcome, progress)[0], None

        if self.planning_steps:
            learned, _ = jax.lax.scan(plan, learned, jax.random.uniform(key, (self.planning_steps, 2)))
        policy, counts = ActionValues(learned[0]), learned[1]
        return State(policy, counts, model, visited, number, tried_at, time, state.carried), (jnp.abs(error), 1.0)

    def _improve(
        self, learned: tuple, state: Array, action: Array, outcome: Outcome, progress: Array
    ) -> tuple[tuple, Array]:
        """One step of Q-learning: the table with its counts, and the error."""
        table, counts = learned
        alpha, counts = step_size(self.learning_rate, counts, progress, state, action)
        following = jnp.max(read(table, outcome.next_state))
        error = td_error(read(table, state, action), outcome.reward, outcome.continues, following, self.discount)
        return (table.at[state, action].add(alpha * error, mode="promise_in_bounds"), counts), error
