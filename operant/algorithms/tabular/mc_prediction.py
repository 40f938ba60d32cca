"""Monte-Carlo prediction: the value of a state is the average of the returns that followed its visits.

Source: Sutton & Barto 2018, section 5.1 (the box "First-visit MC prediction"); eq. 6.1 with a constant learning rate.

    for each iteration:
    1.    play a whole episode by the policy in each environment
    2.    for t = T-1, ..., 0:  G <- R_{t+1} + discount G
    3.        unless S_t occurs among S_0, ..., S_{t-1} (every-visit: always):
    4.            V(S_t) += alpha [G - V(S_t)],  where alpha is 1 / the number of such times (`Visits`) or constant

Deviations from the book: an episode that was cut by the time limit has no return, and G begins with V of its last
state; with several environments, their episodes are learned from one after the other.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Episodes, Ratio, Spec, Window
from operant.parts.component import component
from operant.parts.tabular import monte_carlo
from operant.parts.tabular.learners import Prediction, State, StateValues
from operant.parts.tabular.monte_carlo import backwards, check_choice, episode_returns, visited
from operant.parts.tabular.rates import Rate, Visits, step_size
from operant.parts.tabular.tables import TablePolicy, num_states, read, state_index


class Visit(NamedTuple):
    """One step of an episode."""

    state: Array
    returned: Array  # G
    counted: Array  # 1, or 0 where the visit does not count


@component
class MCPrediction(Prediction):
    policy: TablePolicy = TablePolicy()
    learning_rate: Rate = Visits()
    discount: float = 1.0
    visits: monte_carlo.Visits = "first"
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        Prediction.check(self, spec)
        check_choice("visits", self.visits, "first", "every")

    def window(self) -> Episodes:
        return Episodes()

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec)

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        assert window.valid is not None, "whole episodes carry their mask"
        space, values = context.spec.observation_space, state.policy.values
        states, following = (
            state_index(space, seen) for seen in (window.steps.observation, window.steps.next_observation)
        )
        # 2.
        returns = episode_returns(window, read(values, following), self.discount)
        # 3.
        counted = visited(self.visits, states, window.valid, num_states(space))

        def update(state: State, visit: Visit) -> State:
            # 4.
            alpha, counts = step_size(
                self.learning_rate, state.counts, context.clock.progress, visit.state, times=visit.counted
            )
            error = visit.counted * (visit.returned - read(state.policy.values, visit.state))
            table = state.policy.values.at[visit.state].add(alpha * error, mode="promise_in_bounds")
            return state._replace(policy=StateValues(table), counts=counts)

        errors = counted * jnp.abs(returns - read(values, states))
        state = backwards(update, state, Visit(states, returns, counted), window.valid)
        return state, {"error": Ratio(jnp.sum(errors), jnp.sum(counted))}
