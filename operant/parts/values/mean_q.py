"""Learners from a replay that know of a return its mean: what DQN and CQL share."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec
from operant.equations import huber, squared
from operant.parts.component import check_positive, component
from operant.parts.replay.transitions import Batch
from operant.parts.values.deep_q import DeepQ, Goal, taken


@component
class MeanQ(DeepQ):
    """One output an action, and the squared loss, or Huber's, of y - Q(s, a)."""

    huber_threshold: float | None = None  # None is the squared loss

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_positive(self, "huber_threshold")

    @property
    def outputs(self) -> int:
        return 1

    def _returns(self, network: Any, features: Array, key: Array | None = None) -> Array:
        return network((), features)[1][..., None]

    def _mean(self, returns: Array) -> Array:
        return returns[..., 0]

    def _loss(self, network: Any, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        y = goal.reward + goal.discount * goal.returns[:, 0]
        value = taken(self._returns(network, batch.features), batch.action)[:, 0]
        error = y - value
        losses = squared(error) if self.huber_threshold is None else huber(error, self.huber_threshold)
        return losses, {"value": jnp.mean(value)}, jnp.abs(error)
