"""n-step TD prediction.

Source: Sutton & Barto 2018, section 7.1 (the box "n-step TD for estimating V").

    1.    take A as the given policy says, observe R, S'
    2.    for the step tau of n steps ago, and where the episode ended for every step not learned from, oldest first:
    3.        G = R_{tau+1} + ... + discount^{m-1} R_{tau+m} + discount^m V(S'),  m <= n the steps since tau,
              without V(S') where S' is terminal
    4.        V(S_tau) += alpha [G - V(S_tau)]

Deviations from the book: a truncated episode bootstraps from its true final state.
"""

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.parts.component import component
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import Errors, Prediction, Row, State, StateValues, StepByStep
from operant.parts.tabular.recent import Recent
from operant.parts.tabular.tables import TablePolicy, read


@component
class NStepTD(StepByStep, Prediction):
    policy: TablePolicy = TablePolicy()
    n: int = 4  # steps before the return bootstraps
    learning_rate: Scalar = 0.1
    discount: float = 1.0
    initial_value: float = 0.0

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec, Recent.none(spec.num_envs, self.n))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        recent, alpha = state.carried.push(row), at(self.learning_rate, context.clock.progress)
        # 2.
        due = jnp.where(row.last, recent.count, jnp.int32(recent.count == self.n))

        def learned(tau: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
            values, errors = loop
            # 3.
            rewards, m = recent.rewards_since(tau, self.discount)
            target = rewards + self.discount**m * row.continues * read(values, row.next_state)
            # 4.
            error = target - read(values, recent.states[tau])
            return values.at[recent.states[tau]].add(alpha * error), errors + jnp.abs(error)

        values, errors = jax.lax.fori_loop(0, due, learned, (state.policy.values, jnp.float32(0)))
        return State(StateValues(values), (), recent.drop(due)), (errors, jnp.float32(due))
