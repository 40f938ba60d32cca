"""Proximal policy optimisation with the clipped surrogate.

Source: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", algorithm 1 and equations 7, 9, 11, 12;
the details that make it work after Huang et al. 2022, "The 37 Implementation Details of PPO".

    for each iteration:
    1.    run the policy for T steps in each of N environments
    2.    compute advantages by GAE and value targets = advantages + values
    3.    for K epochs, over shuffled minibatches:
    4.        ratio = pi_new(a|s) / pi_old(a|s)
    5.        loss = -min(ratio A, clip(ratio, 1-eps, 1+eps) A) + c_v (v - target)^2 / 2 - c_e entropy
    6.        clip the gradient's global norm and take an Adam step

Deviations from the paper: advantages are normalised in each minibatch; actor and critic are separate networks;
a truncated step bootstraps from the value of its true final observation. A network with memory is trained by
back-propagation through the whole window, minibatches are then made of whole environments.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Window
from operant.equations import clipped_surrogate, kl_k3
from operant.errors import OperantError
from operant.parts.actor_critic import ActorCritic, Batch, State, batch_epochs, value_loss
from operant.parts.component import check_range, component
from operant.parts.networks import MLP, Recipe
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.schedules import Linear, Scalar, at


@component
class PPO(ActorCritic):
    learning_rate: Scalar = Linear(1e-3, 0.0)
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: Scalar = 0.2
    entropy_coefficient: Scalar = 0.01
    value_coefficient: float = 0.5
    max_gradient_norm: float = 0.5
    target_kl: float | None = None  # leave the remaining updates of a window once it is exceeded
    num_steps: int = 128
    num_epochs: int = 4
    num_minibatches: int = 4
    normalise: tuple[str, ...] = ("rewards",)  # of "observations", "rewards"
    network: Recipe = MLP((64, 64), "tanh")
    optimiser: Optimiser = Adam(eps=1e-5)

    def check(self, spec: Spec) -> None:
        self.check_window(spec)
        check_range(self, 1, math.inf, "num_epochs", "num_minibatches")
        check_range(self, 0, math.inf, "learning_rate", "clip", "max_gradient_norm", "target_kl", "value_coefficient")
        self.check_minibatches(spec, self.num_minibatches)
        if spec.num_envs * self.num_steps == self.num_minibatches:
            raise OperantError("advantages are normalised in each minibatch: one of a single step has none left")

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        # 2. advantages and value targets
        state, batch, explained = self.estimate(state, window, context)
        # 3. epochs of shuffled minibatches
        # One flat vector of parameters, so that an optimiser's step is a few operations and not a few for each array.
        networks, unravel = ravel_pytree((state.policy.actor, state.critic))
        learner = networks, state.optimiser, jnp.bool_(False)
        step = partial(self._update, unravel=unravel, context=context)
        learner, metrics = batch_epochs(step, learner, batch, key, self.num_epochs, self.num_minibatches)
        (networks, optimiser, _), (actor, critic) = learner, unravel(learner[0])
        return state.learned(actor, critic, optimiser), metrics | explained

    def _update(self, learner: tuple, batch: Batch, unravel: Any, context: Context) -> tuple[tuple, dict[str, Array]]:
        """4.-6. One gradient step from one minibatch."""
        networks, moments, stopped = learner
        loss = lambda flat: self._loss(unravel(flat), batch, context)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(networks)
        rate = at(self.learning_rate, context.clock.progress)
        updated = descend(self.optimiser, gradient, moments, networks, rate, self.max_gradient_norm)
        metrics["gradient_norm"] = updated[2]
        if self.target_kl is not None:
            stopped = stopped | (metrics["approximate_kl"] > self.target_kl)
            updated = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (networks, moments), updated[:2])
        return (updated[0], updated[1], stopped), metrics

    def _loss(self, networks: Any, batch: Batch, context: Context) -> tuple[Array, dict[str, Array]]:
        (actor, critic), (times, (memory, _)) = networks, batch
        _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
        distribution = actor.distribution(outputs, context.spec.action_space)
        log_ratio = distribution.log_prob(times.action) - times.log_prob
        advantage = times.advantage
        advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
        clip, entropy = at(self.clip, context.clock.progress), jnp.mean(distribution.entropy())
        policy_loss = jnp.mean(clipped_surrogate(log_ratio, advantage, clip))
        of_values = value_loss(critic, batch)
        bonus = at(self.entropy_coefficient, context.clock.progress) * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": of_values,
            "entropy": entropy,
            "approximate_kl": jnp.mean(kl_k3(log_ratio)),
            "clip_fraction": jnp.mean(jnp.float32(jnp.abs(jnp.exp(log_ratio) - 1.0) > clip)),
        }
        return policy_loss + self.value_coefficient * of_values - bonus, metrics
