"""n-step SARSA.

Source: Sutton & Barto 2018, section 7.2 (the box "n-step Sarsa").

    1.    from S take A, observe R, S', and choose A' from S' by the exploration rule
    2.    for the step tau of n steps ago, and where the episode ended for every step not learned from, oldest first:
    3.        G = R_{tau+1} + ... + discount^{m-1} R_{tau+m} + discount^m Q(S', A'),  m <= n the steps since tau,
              without Q(S', A') where S' is terminal
    4.        Q(S_tau, A_tau) += alpha [G - Q(S_tau, A_tau)]

Steps wait until the action after the n-th is known, which is when the next step is learned from, as in SARSA; the
last steps of an episode wait for nothing.

Deviations from the book: a truncated episode bootstraps from its true final state and an action drawn there.
"""

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.recent import Recent
from operant.parts.tabular.tables import read


@component
class NStepSARSA(StepByStep, Control):
    n: int = 4  # steps before the return bootstraps
    learning_rate: Scalar = 0.2
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec, Recent.none(spec.num_envs, self.n))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        progress, recent = context.clock.progress, state.carried
        # 2. - 4. for the step of n steps ago: this row's action is its A'.
        full = jnp.int32(recent.count == self.n)
        table, waited = self._learned(
            state.policy.action_values, recent, full, (row.state, row.action), jnp.float32(1), progress
        )
        # ... and for all that is left where no action will follow.
        recent = recent.drop(full).push(row)
        drawn = self.exploration.select(key, Options(read(table, row.next_state)[None]), progress)[0]
        rest = jnp.where(row.last, recent.count, 0)
        table, ended = self._learned(table, recent, rest, (row.next_state, drawn), row.continues, progress)
        return State(ActionValues(table), (), recent.drop(rest)), (waited + ended, jnp.float32(full + rest))

    def _learned(
        self, table: Array, recent: Recent, due: Array, following: tuple, continues: Array, progress: Array
    ) -> tuple[Array, Array]:
        """`table` after the `due` oldest of `recent`, followed by the state and action `following`; absolute errors."""
        alpha = at(self.learning_rate, progress)

        def learned(tau: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
            table, errors = loop
            # 3.
            rewards, m = recent.rewards_since(tau, self.discount)
            target = rewards + self.discount**m * continues * read(table, *following)
            # 4.
            place = recent.states[tau], recent.actions[tau]
            error = target - read(table, *place)
            return table.at[place].add(alpha * error), errors + jnp.abs(error)

        return jax.lax.fori_loop(0, due, learned, (table, jnp.float32(0)))
