"""QR-DQN: Q-learning of the quantiles of the return, by quantile regression.

Source: Dabney et al. 2018, "Distributional reinforcement learning with quantile regression", algorithm 1.

    theta_1, ..., theta_N (s, a): the quantiles at the midpoints tau_i = (2 i - 1) / 2 N;  Q = their mean

    for each iteration:
    1.    act by the exploration rule on Q and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') from the replay;  a* = argmax_a' Q_target(s', a')
    4.        T theta_j = r + discount theta_target,j(s', a*),  or r alone where s' is terminal
    5.        descend  sum_i mean_j  rho_tau_i(T theta_j - theta_i(s, a)),  the quantile Huber loss
    6.    every `target_every` environment steps copy the online network to the target

4. and 5. are `parts.values.quantiles`, shared with IQN; the rest is shared with all relatives (`parts.values.deep_q`),
and so are `bootstrap`, `n_step`, `Prioritised` (by the error of the mean), `Dueling` and `Noisy`.

Deviations from the paper: the settings are for small problems; epsilon follows training progress; a truncated episode
bootstraps from its true final observation; the Huber loss is divided by its threshold, so that with 0 it is the
quantile loss itself (the paper's QR-DQN-0).
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.parts.component import check_range, component
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.replay.transitions import Batch
from operant.parts.schedules import Scalar
from operant.parts.values.deep_q import DeepQ, Goal, taken
from operant.parts.values.quantiles import equally_likely, midpoints, regress


@component
class QRDQN(DeepQ):
    learning_rate: Scalar = 5e-4
    num_quantiles: int = 50
    huber_threshold: float = 1.0
    optimiser: Optimiser = Adam(eps=1e-4)

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 0, math.inf, "huber_threshold")
        check_range(self, 1, math.inf, "num_quantiles")

    @property
    def outputs(self) -> int:
        return self.num_quantiles

    def _returns(self, network: Any, features: Array, key: Array | None = None) -> Array:
        return network((), features)[1].reshape(features.shape[0], -1, self.num_quantiles)

    def _mean(self, returns: Array) -> Array:
        return jnp.mean(returns, axis=-1)

    def _chances(self, returns: Array) -> tuple[Array, Array]:
        return equally_likely(returns)

    def _loss(self, network: Any, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        quantiles = taken(self._returns(network, batch.features), batch.action)
        tau = jnp.broadcast_to(midpoints(self.num_quantiles)[None], quantiles.shape)
        # 4. and 5.
        return regress(quantiles, tau, goal, self.huber_threshold)
