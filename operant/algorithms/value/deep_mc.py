"""Deep Monte-Carlo control: a network of action values fitted to whole returns.

Source: Sutton & Barto 2018, section 5.4 (on-policy Monte-Carlo control, every visit), the table replaced by a network
that is fitted in batches, as Riedmiller 2005 (neural fitted Q iteration) fits it to bootstrapped targets.

    for each iteration:
    1.    run one whole episode in each of N environments by the exploration rule
    2.    G_t = sum over k >= t of discount^(k-t) r_k
    3.    for K epochs, for each minibatch: descend the mean of half (G_t - Q(s_t, a_t))^2

Deviations: a return that the time limit cut short ends with the value of the exploration rule in the last state, for
that state still has one; the network is fitted further from where it was instead of anew.
"""

import math
from typing import Any

from jax import Array

from operant.contracts import Context, Episodes, Spec, Window
from operant.equations import expected_value
from operant.parts.component import check_range, component
from operant.parts.encoders import encode
from operant.parts.exploration import EpsilonGreedy, Exploration, legal_options
from operant.parts.masks import legal_actions
from operant.parts.minibatches import check_minibatches
from operant.parts.networks import MLP, Recipe
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.schedules import Linear, Scalar
from operant.parts.tabular.monte_carlo import episode_returns
from operant.parts.values.latest_q import LatestQ, State, rows_of


@component
class DeepMC(LatestQ):
    learning_rate: Scalar = Linear(1e-3, 0.0)
    discount: float = 0.99
    exploration: Exploration = EpsilonGreedy(Linear(1.0, 0.05, over=0.5))
    num_epochs: int = 4
    num_minibatches: int = 8
    max_gradient_norm: float | None = 10.0
    network: Recipe = MLP((120, 84), "relu", "uniform")
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 1, math.inf, "num_epochs", "num_minibatches")
        if spec.time_limit is not None:
            what = f"steps of {spec.num_envs} episodes of at most {spec.time_limit}"
            check_minibatches(spec.time_limit * spec.num_envs, self.num_minibatches, what)

    def window(self) -> Episodes:
        return Episodes()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        steps, space = window.steps, context.spec.observation_space
        # 2. Only where an episode was cut is what followed it looked at.
        next_values = state.policy.after((), encode(space, steps.next_observation))
        legal = legal_actions(space, steps.next_observation)
        policy = self.exploration.probabilities(legal_options(next_values, legal), context.clock.progress)
        returns = episode_returns(window, expected_value(next_values, policy), self.discount)
        # 3.
        rows = rows_of(encode(space, steps.observation), steps.action, returns, window.valid)
        return self.regress_epochs(state, rows, key, context, self.num_epochs, self.num_minibatches)
