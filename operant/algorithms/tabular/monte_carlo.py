"""Monte-Carlo control: action values are averages of returns, and the policy is (nearly) greedy in them.

Source: Sutton & Barto 2018, section 5.4 (the box "On-policy first-visit MC control (for epsilon-soft policies)") and
section 5.3 (the box "Monte Carlo ES", with `exploring_starts` and the rule `Greedy`).

    for each iteration:
    1.    play a whole episode by the exploration rule in each environment;
          with exploring starts the first action is drawn uniformly
    2.    for t = T-1, ..., 0:  G <- R_{t+1} + discount G
    3.        unless (S_t, A_t) occurs among the steps before (every-visit: always):
    4.            Q(S_t, A_t) += alpha [G - Q(S_t, A_t)],  where alpha is 1 / the number of such times or constant

Exploring starts also ask that every state may begin an episode. That is the environment's side: a finite MDP is given
another distribution with `dataclasses.replace(mdp, start=...)`.

Deviations from the book: an episode that was cut by the time limit has no return, and G begins with the value of its
last state under the exploration rule; with several environments, their episodes are learned from one after the other.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Episodes, Ratio, Spec, Window
from operant.equations import expected_value
from operant.parts.component import component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options, Random
from operant.parts.tabular import monte_carlo
from operant.parts.tabular.learners import ActionValues, Control, State
from operant.parts.tabular.monte_carlo import backwards, check_choice, episode_returns, visited
from operant.parts.tabular.rates import Rate, Visits, step_size
from operant.parts.tabular.tables import read, state_index


class Visit(NamedTuple):
    """One step of an episode."""

    state: Array
    action: Array
    returned: Array  # G
    counted: Array  # 1, or 0 where the visit does not count


@component
class MonteCarlo(Control):
    learning_rate: Rate = Visits()
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.1)
    visits: monte_carlo.Visits = "first"
    exploring_starts: bool = False
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        Control.check(self, spec)
        check_choice("visits", self.visits, "first", "every")

    def window(self) -> Episodes:
        return Episodes()

    def init(self, key: Array, spec: Spec) -> State:
        return self.fresh(spec)

    def start(self, policy: Any, key: Array, spec: Spec) -> Any:
        return jnp.ones(spec.num_envs, bool) if self.exploring_starts else ()

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        _, action, extras = Control.act(self, policy, (), observation, key, context, explore=explore)
        if not self.exploring_starts:
            return memory, action, extras
        # 1. The memory is true in an episode's first step; nothing else is drawn from the key there.
        values = policy.at(state_index(context.spec.observation_space, observation))
        uniform = Random().select(key, Options(values), context.clock.progress)
        action = jnp.where(memory, uniform, action) if explore else action
        return jnp.zeros_like(memory), action, extras

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        assert window.valid is not None, "whole episodes carry their mask"
        steps, values, progress = window.steps, state.policy.action_values, context.clock.progress
        space = context.spec.observation_space
        states, following = state_index(space, steps.observation), state_index(space, steps.next_observation)
        # 2.
        next_values = read(values, following)
        cut = expected_value(next_values, self.exploration.probabilities(Options(next_values), progress))
        returns = episode_returns(window, cut, self.discount)
        # 3.
        counted = visited(self.visits, states * values.shape[1] + steps.action, window.valid, values.size)

        def update(state: State, visit: Visit) -> State:
            # 4.
            table, at = state.policy.action_values, (visit.state, visit.action)
            alpha, counts = step_size(self.learning_rate, state.counts, progress, *at, times=visit.counted)
            error = visit.counted * (visit.returned - read(table, *at))
            table = table.at[at].add(alpha * error, mode="promise_in_bounds")
            return state._replace(policy=ActionValues(table), counts=counts)

        errors = counted * jnp.abs(returns - read(values, states, steps.action))
        state = backwards(update, state, Visit(states, steps.action, returns, counted), window.valid)
        return state, {"error": Ratio(jnp.sum(errors), jnp.sum(counted))}
