"""Deep SARSA: on-policy TD control with a network.

Source: Sutton & Barto 2018, section 10.1 (episodic semi-gradient SARSA), from the windows of several environments.

    for each iteration:
    1.    act by the exploration rule for T steps in each of N environments
    2.    y_t = r_t + discount Q(s_(t+1), a_(t+1)),  or r_t alone where s_(t+1) is terminal
          (expected: sum_a pi(a|s_(t+1)) Q(s_(t+1), a), by the exploration rule's probabilities)
    3.    descend the mean of half (y_t - Q(s_t, a_t))^2, y held constant

Deviations: where no next action was taken, after a truncated step and at the window's end, one is drawn by the rule,
from the values as they were when the window was.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec, Steps, Window
from operant.equations import expected_value, td_target
from operant.parts.component import check_range, component
from operant.parts.encoders import encode
from operant.parts.exploration import Boltzmann, Exploration, legal_options
from operant.parts.masks import legal_actions
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.heads import next_outputs
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.schedules import Linear, Scalar
from operant.parts.values.latest_q import LatestQ, State, rows_of


@component
class DeepSARSA(LatestQ):
    learning_rate: Scalar = Linear(2e-3, 0.0)
    discount: float = 0.99
    exploration: Exploration = Boltzmann(Linear(1.0, 0.05, over=0.1))
    expected: bool = False  # the mean over next actions in place of the one taken
    num_steps: int = 8
    max_gradient_norm: float | None = 0.5
    network: Recipe = MLP((128,), "tanh", "uniform")
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 1, math.inf, "num_steps")

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def targets(self, state: State, window: Window, key: Array, context: Context) -> tuple[Array, Array]:
        """Features `[T, B, ...]` and y `[T, B]`."""
        steps, space, progress = window.steps, context.spec.observation_space, context.clock.progress
        features, following = encode(space, steps.observation), encode(space, steps.next_observation)
        values = state.policy.after((), features)
        next_values = next_outputs(state.policy, values, (), following, steps.truncated)
        flat = next_values.reshape(-1, next_values.shape[-1])
        legal = jax.tree.map(lambda mask: mask.reshape(flat.shape), legal_actions(space, steps.next_observation))
        options = legal_options(flat, legal)
        if self.expected:
            value = expected_value(flat, self.exploration.probabilities(options, progress))
        else:
            drawn = self.exploration.select(key, options, progress).reshape(steps.action.shape)
            taken = jnp.concatenate([steps.action[1:], drawn[-1:]])
            action = jnp.where(steps.last, drawn, taken).reshape(-1)
            value = jnp.take_along_axis(flat, action[:, None], axis=-1)
        value = value.reshape(steps.reward.shape)
        return features, td_target(steps.reward, steps.continues, value, self.discount)

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        # 2.
        features, target = self.targets(state, window, key, context)
        # 3.
        return self.regress(state, rows_of(features, window.steps.action, target), context)
