"""The gradient bandit: preferences instead of values, moved along the gradient of the expected reward.

Source: Sutton & Barto 2018, section 2.8, eq. 2.11 and 2.12.

    for each pull:
    1.    draw A from pi = softmax(H), and receive R
    2.    for every action a:  H(a) <- H(a) + learning_rate (R - b) (1{a = A} - pi(a))
    3.    b is the average of the rewards received before; at the first pull it is R itself.  (Without it b = 0.)

Deviations from the book: one row of preferences and one baseline for each observation, so that a bandit with discrete
contexts is served too; several environments pull at once, and the sum of their gradients is taken.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Online, Spec, Window
from operant.parts.component import check_range, component
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.tables import num_actions, num_states, read, state_index


class State(NamedTuple):
    policy: Array  # H, float32 [S, A]
    average: Array  # of the rewards, float32 [S]
    counts: Array  # of the pulls, float32 [S]


@component
class GradientBandit:
    learning_rate: Scalar = 0.1
    baseline: bool = True

    def check(self, spec: Spec) -> None:
        num_states(spec.observation_space)
        num_actions(spec.action_space)
        check_range(self, 0, math.inf, "learning_rate")

    def window(self) -> Online:
        return Online()

    def init(self, key: Array, spec: Spec) -> State:
        states, actions = num_states(spec.observation_space), num_actions(spec.action_space)
        return State(jnp.zeros((states, actions)), jnp.zeros(states), jnp.zeros(states))

    def start(self, policy: Array, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Array, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        preferences = read(policy, state_index(context.spec.observation_space, observation))
        # 1.
        action = jax.random.categorical(key, preferences) if explore else jnp.argmax(preferences, axis=-1)
        return memory, action.astype(jnp.int32), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        steps, preferences = window.steps, state.policy
        here = state_index(context.spec.observation_space, steps.observation).ravel()
        action, reward = steps.action.ravel(), steps.reward.ravel()
        # 2.
        baseline = jnp.where(state.counts[here] > 0, state.average[here], reward) if self.baseline else 0.0
        probabilities = jax.nn.softmax(preferences[here], axis=-1)
        direction = jax.nn.one_hot(action, preferences.shape[-1]) - probabilities
        rate = at(self.learning_rate, context.clock.progress)
        preferences = preferences.at[here].add(rate * (reward - baseline)[:, None] * direction)
        # 3.
        counts = state.counts.at[here].add(1)
        average = state.average.at[here].add((reward - state.average[here]) / counts[here])
        entropy = -jnp.sum(probabilities * jnp.log(probabilities + 1e-30), axis=-1)
        return State(preferences, average, counts), {"entropy": jnp.mean(entropy)}
