"""Off-policy Monte-Carlo prediction: a policy judged by the episodes of another, through importance sampling.

Source: Sutton & Barto 2018, section 5.5-5.6, eq. 5.3 and 5.5 (ordinary), 5.6-5.8 (weighted).

    for each iteration:
    1.    play a whole episode by the behaviour b in each environment
    2.    for t = T-1, ..., 0:  G <- R_{t+1} + discount G,  W <- W pi(A_t|S_t) / b(A_t|S_t)
    3.        for the visits that count (first or every):
                  weighted:  C(S_t) += W,  V(S_t) += W / C(S_t) [G - V(S_t)]
                  ordinary:  C(S_t) += 1,  V(S_t) += 1 / C(S_t) [W G - V(S_t)]

Ordinary importance sampling is unbiased, but where ratios are unbounded over an episode its variance may be infinite
(example 5.5). The weighted one is biased, consistent, and bounded by the returns. A behaviour that never takes an
action of the policy tells nothing about it, and is refused.

Deviations from the book: an episode that was cut by the time limit has no return, and G begins with V of its last
state. All visits of a window are added up at once, which for averages is the same as one after the other.
"""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.contracts import Context, Episodes, Ratio, Spec, Window
from operant.equations.recurrence import reverse_recurrence
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.tabular import monte_carlo
from operant.parts.tabular.learners import State, StateValues
from operant.parts.tabular.monte_carlo import check_choice, episode_returns, visited
from operant.parts.tabular.tables import TablePolicy, num_actions, num_states, read, state_index


@component
class OffPolicyMCPrediction:
    policy: TablePolicy = TablePolicy()  # the target, which is judged
    behaviour: TablePolicy = TablePolicy()  # which acts
    discount: float = 1.0
    weighting: Literal["weighted", "ordinary"] = "weighted"
    visits: monte_carlo.Visits = "first"

    def check(self, spec: Spec) -> None:
        self.policy.check(spec)
        self.behaviour.check(spec)
        check_range(self, 0, 1, "discount")
        check_choice("weighting", self.weighting, "weighted", "ordinary")
        check_choice("visits", self.visits, "first", "every")
        policy, behaviour = (np.asarray(table.table(spec)) for table in (self.policy, self.behaviour))
        uncovered = (policy > 0) & (behaviour == 0)
        if uncovered.any():
            state, action = np.argwhere(uncovered)[0]
            raise OperantError(
                f"no coverage: in state {state} the policy takes action {action}, the behaviour never does"
            )

    def window(self) -> Episodes:
        return Episodes()

    def init(self, key: Array, spec: Spec) -> State:
        states = num_states(spec.observation_space)
        return State(StateValues(jnp.zeros(states)), jnp.zeros(states), ())

    def start(self, policy: StateValues, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: StateValues, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        # 1. Evaluation follows the policy that is judged.
        acting, state = (
            self.behaviour if explore else self.policy,
            state_index(context.spec.observation_space, observation),
        )
        return memory, acting.select(key, state, num_actions(context.spec.action_space)), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        assert window.valid is not None, "whole episodes carry their mask"
        space, steps, values = context.spec.observation_space, window.steps, state.policy.values
        states, following = state_index(space, steps.observation), state_index(space, steps.next_observation)
        # 2. W_t = ratio_t W_{t+1} inside an episode, ratio_t at its last step.
        returns = episode_returns(window, read(values, following), self.discount)
        chances = (read(table.table(context.spec), states, steps.action) for table in (self.policy, self.behaviour))
        # Behind an episode's end stand actions that may have no chance at all, and 0 / 0 would spoil what is before.
        ratio, inside = jnp.where(window.valid, jnp.divide(*chances), 1.0), 1.0 - steps.last
        weights = reverse_recurrence(ratio * inside, ratio * (1.0 - inside))
        # 3. The sum of w x over the sum of w, where w x is W G.
        counted = visited(self.visits, states, window.valid, values.size)
        if self.weighting == "weighted":
            weight, sample = counted * weights, returns
        else:
            weight, sample = counted, weights * returns
        total = state.counts.at[states].add(weight)
        change = jnp.zeros_like(values).at[states].add(weight * (sample - read(values, states)))
        table = values + change / jnp.maximum(total, jnp.finfo(total.dtype).tiny)
        return State(StateValues(table), total, ()), {"weight": Ratio(jnp.sum(counted * weights), jnp.sum(counted))}
