"""PQN: Q-learning from many environments at once, without replay and without a target network.

Source: Gallici et al. 2024, "Simplifying deep temporal difference learning", algorithm 1 with lambda-returns.

    for each iteration:
    1.    act epsilon-greedily for T steps in each of N environments
    2.    G_t = r_t + discount (lambda G_(t+1) + (1 - lambda) max_a Q(s_(t+1), a)),  r_t alone where s_(t+1) is terminal
    3.    for K epochs, for each minibatch: descend the mean of half (G_t - Q(s_t, a_t))^2

Layer normalisation of the network, with which the paper shows such updates to be stable, is in the network's recipe.

Deviations from the paper: a truncated episode bootstraps from its true final observation.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec, Steps, Window
from operant.equations import lambda_returns
from operant.parts.component import check_range, component
from operant.parts.encoders import encode
from operant.parts.exploration import EpsilonGreedy, Exploration
from operant.parts.masks import legal_actions, restricted
from operant.parts.minibatches import check_minibatches
from operant.parts.networks import MLP, LayerNorm, Recipe
from operant.parts.networks.heads import next_outputs
from operant.parts.optimisers import Optimiser, RAdam
from operant.parts.schedules import Linear, Scalar
from operant.parts.values.latest_q import LatestQ, State, rows_of


@component
class PQN(LatestQ):
    learning_rate: Scalar = Linear(1e-3, 0.0)
    discount: float = 0.99
    trace_decay: float = 0.65  # lambda
    exploration: Exploration = EpsilonGreedy(Linear(1.0, 0.05, over=0.5))
    num_steps: int = 32
    num_epochs: int = 4
    num_minibatches: int = 4
    max_gradient_norm: float | None = 10.0
    network: Recipe = LayerNorm(MLP((120, 84), "relu", "uniform"))
    optimiser: Optimiser = RAdam()

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 0, 1, "trace_decay")
        check_range(self, 1, math.inf, "num_steps", "num_epochs", "num_minibatches")
        check_minibatches(self.num_steps * spec.num_envs, self.num_minibatches)

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def returns(self, state: State, window: Window, context: Context) -> tuple[Array, Array]:
        """Features `[T, B, ...]` and G `[T, B]`, by the network before its updates."""
        steps, space = window.steps, context.spec.observation_space
        features, following = encode(space, steps.observation), encode(space, steps.next_observation)
        values = state.policy.after((), features)
        next_values = next_outputs(state.policy, values, (), following, steps.truncated)
        best = jnp.max(restricted(next_values, legal_actions(space, steps.next_observation)), axis=-1)
        trace = steps.reward, best, steps.continues, steps.last
        return features, lambda_returns(*trace, self.discount, self.trace_decay)

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        # 2.
        features, target = self.returns(state, window, context)
        # 3.
        rows = rows_of(features, window.steps.action, target)
        return self.regress_epochs(state, rows, key, context, self.num_epochs, self.num_minibatches)
