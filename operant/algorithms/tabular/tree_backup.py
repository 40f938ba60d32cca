"""n-step tree backup: off-policy returns without importance sampling.

Source: Precup, Sutton & Singh 2000; Sutton & Barto 2018, section 7.5 (the box "n-step Tree Backup").

    1.    from S take A by the exploration rule, observe R, S'
    2.    for the step tau of n steps ago, and where the episode ended for every step not learned from, oldest first:
    3.        G = R + discount sum_a pi(a|S') Q(S', a),  R alone where S' is terminal
    4.        for k from the newest step down to tau + 1:
    5.            G <- R_k + discount sum_{a != A_k} pi(a|S_k) Q(S_k, a) + discount pi(A_k|S_k) G
    6.        Q(S_tau, A_tau) += alpha [G - Q(S_tau, A_tau)]

pi, the target policy, is greedy by default, and need not be the one that acts: with n = 1 this is Q-learning. With the
exploration rule as the target it is expected SARSA.

Deviation from the book: a truncated episode bootstraps from its true final state.
"""

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec
from operant.equations import expected_value
from operant.equations.recurrence import reverse_recurrence
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Greedy, Options, refuse_counts
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.learners import ActionValues, Control, Errors, Row, State, StepByStep
from operant.parts.tabular.recent import Recent
from operant.parts.tabular.tables import read


@component
class TreeBackup(StepByStep, Control):
    n: int = 4  # steps before the return bootstraps
    learning_rate: Scalar = 0.2
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    target_policy: Exploration = Greedy()  # whose values are learned
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        super().check(spec)
        refuse_counts(self.target_policy, "tree-backup's target")

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec, Recent.none(spec.num_envs, self.n))

    def _update(self, state: State, row: Row, key: Array, context: Context) -> tuple[State, Errors]:
        progress, recent = context.clock.progress, state.carried.push(row)
        alpha, number = at(self.learning_rate, progress), jnp.arange(self.n)
        # 2.
        due = jnp.where(row.last, recent.count, jnp.int32(recent.count == self.n))

        def judged(table: Array, states: Array) -> tuple[Array, Array, Array]:
            """Action values, the policy's probabilities, and the values that they give, of some states."""
            values = read(table, states)
            probabilities = self.target_policy.probabilities(Options(values), progress)
            return values, probabilities, expected_value(values, probabilities)

        def learned(tau: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
            table, errors = loop
            # 3.
            final = row.reward + self.discount * row.continues * judged(table, row.next_state)[2]
            # 4. - 5. as G <- a_k G + b_k, which is G itself for the steps outside.
            values, probabilities, expected = judged(table, recent.states)
            taken = recent.actions[:, None]
            chance, value = (jnp.take_along_axis(x, taken, axis=1)[:, 0] for x in (probabilities, values))
            inside = (number > tau) & (number < recent.count)
            a = jnp.where(inside, self.discount * chance, 1.0)
            b = jnp.where(inside, jnp.roll(recent.rewards, 1) + self.discount * (expected - chance * value), 0.0)
            target = reverse_recurrence(a, b, final)[0]
            # 6.
            place = recent.states[tau], recent.actions[tau]
            error = target - read(table, *place)
            return table.at[place].add(alpha * error), errors + jnp.abs(error)

        table, errors = jax.lax.fori_loop(0, due, learned, (state.policy.action_values, jnp.float32(0)))
        return State(ActionValues(table), (), recent.drop(due)), (errors, jnp.float32(due))
