"""Off-policy Monte-Carlo control: the greedy policy learned from the episodes of a soft one.

Source: Sutton & Barto 2018, section 5.7 (the box "Off-policy MC control"); eq. 5.5 for the ordinary weighting.

    for each iteration:
    1.    play a whole episode by the behaviour b, a soft exploration rule over Q, in each environment; W <- 1
    2.    for t = T-1, ..., 0:  G <- R_{t+1} + discount G
    3.        weighted:  C(S_t, A_t) += W,  Q(S_t, A_t) += W / C(S_t, A_t) [G - Q(S_t, A_t)]
              ordinary:  C(S_t, A_t) += 1,  Q(S_t, A_t) += 1 / C(S_t, A_t) [W G - Q(S_t, A_t)]
    4.        W <- W / b(A_t|S_t) where A_t is greedy in Q now, else 0 (the box leaves the episode there)

It learns from the tails of episodes only, behind the last action that was not greedy. A behaviour that leaves out
actions cannot be corrected for, and is refused.

Deviations from the book: an episode that was cut by the time limit has no return, and G begins with the greedy value
of its last state; with several environments, their episodes are learned from one after the other.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Episodes, Ratio, Spec, Window
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options, is_soft
from operant.parts.tabular.learners import ActionValues, State
from operant.parts.tabular.monte_carlo import backwards, check_choice, episode_returns
from operant.parts.tabular.tables import num_actions, num_states, read, state_index


class Visit(NamedTuple):
    """One step of an episode."""

    state: Array
    action: Array
    chance: Array  # b(A|S)
    returned: Array  # G


@component
class OffPolicyMC:
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.3)  # the behaviour
    weighting: Literal["weighted", "ordinary"] = "weighted"
    initial_value: float = 0.0

    def check(self, spec: Spec) -> None:
        num_states(spec.observation_space)
        num_actions(spec.action_space)
        check_range(self, 0, 1, "discount")
        check_choice("weighting", self.weighting, "weighted", "ordinary")
        if not is_soft(self.exploration):
            raise OperantError(
                f"no coverage: the behaviour {self.exploration} leaves out actions; epsilon must stay above 0"
            )

    def window(self) -> Episodes:
        return Episodes()

    def init(self, key: Array, spec: Spec) -> State:
        shape = num_states(spec.observation_space), num_actions(spec.action_space)
        return State(ActionValues(jnp.full(shape, self.initial_value, jnp.float32)), jnp.zeros(shape), ())

    def start(self, policy: ActionValues, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: ActionValues, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        values = policy.at(state_index(context.spec.observation_space, observation))
        if not explore:
            return memory, jnp.argmax(values, axis=-1).astype(jnp.int32), ()
        # 1.
        options, progress = Options(values), context.clock.progress
        action = self.exploration.select(key, options, progress)
        chances = self.exploration.probabilities(options, progress)
        return memory, action, jnp.take_along_axis(chances, action[:, None], axis=-1)[:, 0]

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        assert window.valid is not None, "whole episodes carry their mask"
        space, steps, values = context.spec.observation_space, window.steps, state.policy.action_values
        states, following = state_index(space, steps.observation), state_index(space, steps.next_observation)
        # 2.
        returns = episode_returns(window, jnp.max(read(values, following), axis=-1), self.discount)

        def update(learned: tuple, visit: Visit) -> tuple:
            table, total, weight, used = learned
            at = visit.state, visit.action
            # 3.
            if self.weighting == "weighted":
                share, sample = weight, visit.returned
            else:
                share, sample = 1.0, weight * visit.returned
            total = total.at[at].add(share)
            alpha = share / jnp.maximum(read(total, *at), jnp.finfo(total.dtype).tiny)
            table = table.at[at].add(alpha * (sample - read(table, *at)))
            # 4.
            greedy = jnp.argmax(read(table, visit.state)) == visit.action
            return table, total, jnp.where(greedy, weight / visit.chance, 0.0), used + (weight > 0)

        begun = values, state.counts, jnp.float32(1.0), jnp.float32(0.0)
        rows = Visit(states, steps.action, steps.extras, returns)
        fresh = lambda learned: (*learned[:2], jnp.float32(1.0), learned[3])  # noqa: E731
        table, total, _, used = backwards(update, begun, rows, window.valid, each=fresh)
        metrics = {"used": Ratio(used, jnp.sum(window.valid, dtype=jnp.float32))}
        return State(ActionValues(table), total, ()), metrics
