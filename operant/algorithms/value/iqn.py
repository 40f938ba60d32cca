"""Implicit quantile networks: Q-learning of the return's quantile function, at any fraction.

Source: Dabney et al. 2018, "Implicit quantile networks for distributional reinforcement learning", section 3.

    Z_tau(s, a) = f(psi(s) * phi(tau))_a,  phi(tau)_j = ReLU(sum_i cos(pi i tau) w_ij + b_j),  i = 0, ..., n - 1
    Q(s, a) = the mean of Z over K fractions

    for each iteration:
    1.    act by the exploration rule on Q and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') from the replay;  a* = argmax_a' Q_target(s', a')
    4.        tau_1, ..., tau_N and tau'_1, ..., tau'_N uniformly from [0, 1]
    5.        T_j = r + discount Z_target,tau'_j(s', a*),  or r alone where s' is terminal
    6.        descend  sum_i mean_j  rho_tau_i(T_j - Z_tau_i(s, a)),  the quantile Huber loss
    7.    every `target_every` environment steps copy the online network to the target

All but 4. is shared with its relatives (`parts.values.deep_q`; 5. and 6. with QR-DQN, `parts.values.quantiles`).

Deviations from the paper: f is the head alone, psi the whole body before it; as many fractions tau' as tau; the K
fractions of Q are the midpoints of equal intervals instead of draws, so that greedy actions have no chance in them;
settings are for small problems; epsilon follows training progress; a truncated episode bootstraps from its true final
observation.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.parts.component import check_range, component
from operant.parts.encoders import features_shape
from operant.parts.networks.heads import Network
from operant.parts.networks.layers import Linear
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.replay.transitions import Batch
from operant.parts.schedules import Scalar
from operant.parts.values.deep_q import DeepQ, Goal, taken
from operant.parts.values.quantiles import equally_likely, midpoints, regress


class Implicit(eqx.Module):
    """A network whose hidden units are multiplied by an embedding of the fraction."""

    network: Network
    embedding: Linear

    def __call__(self, features: Array, fractions: Array) -> Array:
        """Outputs `[B, K, A]` of features `[B, ...]` at `fractions [B, K]`."""
        psi = self.network.hidden((), features)[1]
        frequencies = jnp.pi * jnp.arange(self.embedding.weight.shape[0])
        waves = jnp.cos(frequencies[None, None] * fractions[..., None])
        return self.network.head(psi[:, None] * jax.nn.relu(self.embedding(waves)))


@component
class IQN(DeepQ):
    learning_rate: Scalar = 5e-4
    num_quantiles: int = 16  # N, drawn anew for every transition of a minibatch
    num_acting: int = 32  # K
    num_waves: int = 64  # n
    huber_threshold: float = 1.0
    optimiser: Optimiser = Adam(eps=1e-4)

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 0, math.inf, "huber_threshold")
        check_range(self, 1, math.inf, "num_quantiles", "num_acting", "num_waves")

    @property
    def outputs(self) -> int:
        return 1  # at each fraction

    def _build(self, key: Array, spec: Spec) -> Implicit:
        key_network, key_embedding = jax.random.split(key)
        network = super()._build(key_network, spec)
        example = jax.ShapeDtypeStruct((1, *features_shape(spec.observation_space)), jnp.float32)
        width = jax.eval_shape(lambda features: network.hidden((), features)[1], example).shape[1]
        return Implicit(network, Linear(key_embedding, self.num_waves, width, None))

    def _at(self, network: Implicit, features: Array, fractions: Array) -> Array:
        """Z `[B, A, K]`."""
        return jnp.swapaxes(network(features, fractions), 1, 2)

    def _returns(self, network: Implicit, features: Array, key: Array | None = None) -> Array:
        batch = features.shape[0]
        if key is None:
            fractions = jnp.broadcast_to(midpoints(self.num_acting)[None], (batch, self.num_acting))
        else:
            fractions = jax.random.uniform(key, (batch, self.num_quantiles))  # 4., tau'
        return self._at(network, features, fractions)

    def _judged(self, network: Implicit, features: Array, returns: Array) -> Array:
        return self._values(network, features)

    def _mean(self, returns: Array) -> Array:
        return jnp.mean(returns, axis=-1)

    def _chances(self, returns: Array) -> tuple[Array, Array]:
        return equally_likely(returns)

    def _loss(self, network: Implicit, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        tau = jax.random.uniform(key, (self.batch_size, self.num_quantiles))
        quantiles = taken(self._at(network, batch.features, tau), batch.action)
        # 5. and 6.
        return regress(quantiles, tau, goal, self.huber_threshold)
