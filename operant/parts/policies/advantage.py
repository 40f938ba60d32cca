"""The step that A2C takes for all environments together and A3C for each actor: a gradient, and what applies it.

The numbers at the comments are those of the pseudocode of both.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Window
from operant.equations import policy_gradient
from operant.parts.component import check_positive, check_range, component
from operant.parts.networks import MLP, Recipe
from operant.parts.optimisers import Optimiser, RMSProp, descend
from operant.parts.policies.actor_critic import ActorCritic, Batch, State, divergence, value_loss
from operant.parts.schedules import Linear, Scalar, at


@component
class AdvantageActorCritic(ActorCritic):
    """Learners that take one step of one optimiser from each window, actor and critic together."""

    learning_rate: Scalar = Linear(7e-4, 0.0)
    discount: float = 0.99
    gae_lambda: float = 1.0
    entropy_coefficient: Scalar = 0.01
    value_coefficient: float = 0.5
    max_gradient_norm: float | None = 0.5
    num_steps: int = 5
    normalise: tuple[str, ...] = ("rewards",)  # of "observations", "rewards"
    network: Recipe = MLP((64, 64), "tanh")
    optimiser: Optimiser = RMSProp()

    def check(self, spec: Spec) -> None:
        self.check_window(spec)
        check_range(self, 0, math.inf, "learning_rate", "value_coefficient")
        check_positive(self, "max_gradient_norm")

    def gradient(
        self, state: State, window: Window, key: Array, context: Context
    ) -> tuple[State, Array, dict[str, Array]]:
        """`(state, gradient, metrics)`: the state with statistics and memory after the window, the networks as before.

        The gradient is one vector, of `(actor, critic)`.
        """
        # 2. - 3.
        state, batch, metrics = self.estimate(state, window, context)
        gradient, losses = self._differentiate(state, batch, context)
        return state, gradient, metrics | losses

    def apply(self, state: State, gradient: Array, context: Context) -> tuple[State, dict[str, Array]]:
        """The state after one step along `gradient`, which may be of earlier networks; and metrics."""
        # 5.
        networks, unravel = ravel_pytree((state.policy.actor, state.critic))
        rate = at(self.learning_rate, context.clock.progress)
        networks, moments, norm = descend(
            self.optimiser, gradient, state.optimiser, networks, rate, self.max_gradient_norm
        )
        actor, critic = unravel(networks)
        return state.learned(actor, critic, moments), {"gradient_norm": norm}

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        state, batch, metrics = self.estimate(state, window, context)
        gradient, losses = self._differentiate(state, batch, context)
        state, told = self.apply(state, gradient, context)
        moved = divergence(state.policy.actor, batch, context.spec.action_space)
        return state, metrics | losses | told | {"approximate_kl": moved}

    def _differentiate(self, state: State, batch: Batch, context: Context) -> tuple[Array, dict[str, Array]]:
        # 4. As one flat vector, so that the optimiser's step is a few operations and not a few for each array.
        networks, unravel = ravel_pytree((state.policy.actor, state.critic))
        loss = lambda flat: self._loss(unravel(flat), batch, context)  # noqa: E731
        return jax.grad(loss, has_aux=True)(networks)

    def _loss(self, networks: Any, batch: Batch, context: Context) -> tuple[Array, dict[str, Array]]:
        (actor, critic), (times, (memory, _)) = networks, batch
        _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
        distribution = actor.distribution(outputs, context.spec.action_space, times.mask)
        policy_loss = jnp.mean(policy_gradient(distribution.log_prob(times.action), times.advantage))
        of_values, entropy = value_loss(critic, batch), jnp.mean(distribution.entropy())
        bonus = at(self.entropy_coefficient, context.clock.progress) * entropy
        metrics = {"policy_loss": policy_loss, "value_loss": of_values, "entropy": entropy}
        return policy_loss + self.value_coefficient * of_values - bonus, metrics
