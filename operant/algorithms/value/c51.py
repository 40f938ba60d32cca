"""C51: Q-learning of the whole distribution of the return, on fixed atoms.

Source: Bellemare et al. 2017, "A distributional perspective on reinforcement learning", algorithm 1.

    z_0, ..., z_(N-1) evenly from v_min to v_max;  p(s, a) = softmax over N outputs;  Q(s, a) = sum_i z_i p_i(s, a)

    for each iteration:
    1.    act by the exploration rule on Q and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') from the replay;  a* = argmax_a' Q_target(s', a')
    4.        T z_j = r + discount z_j, or r alone where s' is terminal, clamped to [v_min, v_max]
    5.        m = p_target(s', a*) on the atoms T z, shared among the neighbouring z
    6.        descend the cross-entropy - sum_i m_i log p_i(s, a)
    7.    every `target_every` environment steps copy the online network to the target

All but 4. to 6. is shared with its relatives (`parts.values.deep_q`), and so are `bootstrap`, `n_step`, `Prioritised`
(by the cross-entropy), `Dueling` and `Noisy`; with all of them it is Rainbow (Hessel et al. 2018), `rainbow` in the
catalogue.

Deviations from the paper: Adam's epsilon and the other settings are for small problems; epsilon follows training
progress; a truncated episode bootstraps from its true final observation. With Munchausen, which was not written for
distributions, p_target is the mixture over its policy and the support moves by the policy's scaled entropy.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.equations import categorical_projection
from operant.errors import OperantError
from operant.parts.component import component
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.replay.transitions import Batch
from operant.parts.values.deep_q import DeepQ, Goal, taken


@component
class C51(DeepQ):
    num_atoms: int = 51
    v_min: float = -100.0
    v_max: float = 100.0
    optimiser: Optimiser = Adam(eps=1e-4)

    def check(self, spec: Spec) -> None:
        super().check(spec)
        if self.num_atoms < 2:
            raise OperantError(f"C51's num_atoms must be at least 2, not {self.num_atoms}")
        if self.v_min >= self.v_max:
            raise OperantError(f"C51's v_min must be below its v_max, not {self.v_min:g} with {self.v_max:g}")

    @property
    def outputs(self) -> int:
        return self.num_atoms

    @property
    def support(self) -> Array:
        """z, `[N]`."""
        return self.v_min + jnp.arange(self.num_atoms) * ((self.v_max - self.v_min) / (self.num_atoms - 1))

    def _logits(self, network: Any, features: Array) -> Array:
        return network((), features)[1].reshape(features.shape[0], -1, self.num_atoms)

    def _returns(self, network: Any, features: Array, key: Array | None = None) -> Array:
        return jax.nn.softmax(self._logits(network, features), axis=-1)

    def _mean(self, returns: Array) -> Array:
        return returns @ self.support

    def _chances(self, returns: Array) -> tuple[Array, Array]:
        return jnp.broadcast_to(self.support, returns.shape), returns

    def _loss(self, network: Any, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        # 4. and 5.; the projection clamps
        atoms = goal.reward[:, None] + goal.discount[:, None] * self.support[None]
        target = categorical_projection(goal.returns, atoms, self.support)
        # 6.
        log_p = jax.nn.log_softmax(taken(self._logits(network, batch.features), batch.action), axis=-1)
        losses = -jnp.sum(target * log_p, axis=-1)
        beyond = (atoms < self.v_min - self._slack) | (atoms > self.v_max + self._slack)
        expected = jnp.sum(goal.returns * atoms, axis=-1)
        metrics = {
            "value": jnp.mean(jnp.exp(log_p) @ self.support),
            "outside_support": jnp.mean(jnp.sum(goal.returns * beyond, axis=-1)),
            "lowest_target": jnp.min(expected),
            "highest_target": jnp.max(expected),
        }
        return losses, metrics, losses

    @property
    def _slack(self) -> Array | float:
        """Less than a hundredth of the way to the next atom is rounding."""
        return 0.01 * (self.v_max - self.v_min) / (self.num_atoms - 1)
