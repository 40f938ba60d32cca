"""Conservative Q-learning: Q-learning that is held down where the data do not say what would happen.

Source: Kumar et al. 2020, "Conservative Q-learning for offline reinforcement learning", equation 4, CQL(H).

    for each iteration (from a dataset, only the updates; `operant train cql ... --dataset`):
    1.    act by the exploration rule for T steps in each environment and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') from the replay
    4.        y = r + discount max_a' Q_target(s', a'),  or r alone where s' is terminal
    5.        descend  alpha (log sum_a' exp Q(s, a') - Q(s, a)) + the squared (or Huber) loss of y - Q(s, a)
    6.    every `target_every` environment steps (gradient steps, from a dataset) copy the online network to the target

alpha is `conservative_weight`; with 0 it is DQN. 4. and the loss of 5. are `parts.values.mean_q`, shared with DQN; the
rest is shared with all relatives (`parts.values.deep_q`), and so are `bootstrap`, `n_step`, `Prioritised` (by the error
alone), `Dueling` and `Noisy`.

Deviations from the paper: the mean of the return instead of its quantiles (the paper's Atari agent is QR-DQN); alpha is
fixed, not a Lagrange multiplier; with returns of several steps, which are not corrected for the policy that acted, the
penalty is that of their first step.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.parts.component import check_range, component
from operant.parts.masks import restricted
from operant.parts.replay.transitions import Batch
from operant.parts.values.deep_q import Goal, taken
from operant.parts.values.mean_q import MeanQ


@component
class CQL(MeanQ):
    conservative_weight: float = 1.0  # alpha

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 0, math.inf, "conservative_weight")

    def _loss(self, network: Any, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        losses, metrics, priorities = super()._loss(network, batch, goal, key)
        # 5.
        returns = self._returns(network, batch.features)
        values = restricted(self._mean(returns), batch.legal)
        gap = jax.nn.logsumexp(values, axis=-1) - taken(returns, batch.action)[:, 0]
        return losses + self.conservative_weight * gap, metrics | {"conservative_gap": jnp.mean(gap)}, priorities
