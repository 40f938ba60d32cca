"""Proximal policy optimisation with the clipped surrogate, or with a penalty on the divergence.

Source: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", algorithm 1 and equations 7, 8, 9, 11, 12;
the details that make it work after Huang et al. 2022, "The 37 Implementation Details of PPO".

    for each iteration:
    1.    run the policy for T steps in each of N environments
    2.    compute advantages by GAE and value targets = advantages + values
    3.    for K epochs, over shuffled minibatches:
    4.        ratio = pi_new(a|s) / pi_old(a|s)
    5.        loss = -min(ratio A, clip(ratio, 1-eps, 1+eps) A) + c_v (v - target)^2 / 2 - c_e entropy
    6.        clip the gradient's global norm and take an Adam step
    7.    with a penalty: d = KL(pi_old || pi_new); beta halves where d < target / 1.5, doubles where d > 1.5 target

With `penalty` step 5 adds beta KL(pi_old || pi_new); `clip=None` leaves -ratio A, and both are equation 8. Advantages
and targets may be computed anew before each epoch (Andrychowicz et al. 2021, section 3.5; Tianshou's settings).

Deviations from the paper: advantages are normalised in each minibatch; actor and critic are separate networks, unless
`critic` shares one; a truncated step bootstraps from the value of its true final observation; the penalty's divergence
is estimated from the actions taken (k3, whose mean and whose gradient's mean are exact); rewards are scaled by the
spread of their returns. A network with memory is trained by back-propagation through the whole window, minibatches are
then made of whole environments.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Window
from operant.equations import clipped_surrogate, kl_k3, surrogate, whiten
from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.critics import Separate, Shared
from operant.parts.networks.heads import bodiless, tied
from operant.parts.networks.spreads import Independent, Spread
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.policies.actor_critic import ActorCritic, Batch, State, batch_epochs, divergence, value_loss
from operant.parts.policies.penalties import AdaptiveKL
from operant.parts.schedules import Linear, Scalar, at


@component
class PPO(ActorCritic):
    learning_rate: Scalar = Linear(1e-3, 0.0)
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: Scalar | None = 0.2
    penalty: AdaptiveKL | None = None  # on the divergence from the policy that acted
    target_kl: float | None = None  # leave the remaining updates of a window once it is exceeded
    entropy_coefficient: Scalar = 0.01
    critic: Separate | Shared = Separate()
    value_coefficient: float = 0.5
    max_gradient_norm: float = 0.5
    num_steps: int = 128
    num_epochs: int = 4
    num_minibatches: int = 4
    recompute: bool = False  # compute advantages and targets anew before each epoch
    normalise: tuple[str, ...] = ("rewards",)  # of "observations", "rewards"
    network: Recipe = MLP((64, 64), "tanh")
    log_std: Spread = Independent()
    optimiser: Optimiser = Adam(eps=1e-5)

    def check(self, spec: Spec) -> None:
        self.check_window(spec)
        check_range(self, 1, math.inf, "num_epochs", "num_minibatches")
        check_range(self, 0, math.inf, "learning_rate", "clip", "target_kl", "value_coefficient")
        check_positive(self, "max_gradient_norm")
        self.check_minibatches(spec, self.num_minibatches)
        if spec.num_envs * self.num_steps == self.num_minibatches:
            raise OperantError("advantages are normalised in each minibatch: one of a single step has none left")

    def init(self, key: Array, spec: Spec) -> State:
        state, transform = self.fresh(key, spec), self.optimiser.transform()
        if isinstance(self.critic, Shared):
            state = state._replace(critic=bodiless(state.critic))
        if self.penalty is not None:
            state = state._replace(beta=jnp.float32(self.penalty.beta))
        parts = [ravel_pytree(part)[0] for part in (state.policy.actor, state.critic)]
        if self._own_rate is not None:
            return state._replace(optimiser=tuple(map(transform.init, parts)))
        return state._replace(optimiser=transform.init(jnp.concatenate(parts)))

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        # 2. advantages and value targets
        before = state
        state, batch, explained = self.estimate(state, window, context)
        # 3. epochs of shuffled minibatches
        # One flat vector of parameters, so that an optimiser's step is a few operations and not a few for each array.
        networks, unravel = ravel_pytree((state.policy.actor, state.critic))
        learner = networks, state.optimiser, jnp.bool_(False)
        step = partial(self._update, unravel=unravel, beta=state.beta, context=context)

        def epoch(learner: tuple, key: Array) -> tuple[tuple, dict[str, Array]]:
            # The window is seen by the statistics of `before`, as the acting policy saw it.
            actor, critic = unravel(learner[0])
            anew = self.estimate(before.learned(actor, critic, ()), window, context)[1]
            return batch_epochs(step, learner, anew, key, 1, self.num_minibatches)

        if self.recompute:
            learner, metrics = jax.lax.scan(epoch, learner, jax.random.split(key, self.num_epochs))
            metrics = jax.tree.map(jnp.mean, metrics)
        else:
            learner, metrics = batch_epochs(step, learner, batch, key, self.num_epochs, self.num_minibatches)
        (networks, optimiser, _), (actor, critic) = learner, unravel(learner[0])
        state = state.learned(actor, critic, optimiser)
        # 7.
        if self.penalty is not None:
            moved = divergence(actor, batch, context.spec.action_space)
            metrics |= {"kl": moved, "beta": state.beta}
            state = state._replace(beta=self.penalty.adapted(state.beta, moved))
        return state, metrics | explained

    def _update(
        self, learner: tuple, batch: Batch, unravel: Any, beta: Any, context: Context
    ) -> tuple[tuple, dict[str, Array]]:
        """4.-6. One gradient step from one minibatch."""
        networks, moments, stopped = learner
        loss = lambda flat: self._loss(unravel(flat), batch, beta, context)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(networks)
        updated = self._descend(gradient, moments, networks, unravel, context.clock.progress)
        metrics["gradient_norm"] = updated[2]
        if self.target_kl is not None:
            stopped = stopped | (metrics["approximate_kl"] > self.target_kl)
            updated = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (networks, moments), updated[:2])
        return (updated[0], updated[1], stopped), metrics

    @property
    def _own_rate(self) -> Scalar | None:
        """The critic's, where it has an optimiser of its own."""
        return self.critic.learning_rate if isinstance(self.critic, Separate) else None

    def _descend(self, gradient: Array, moments: Any, networks: Array, unravel: Any, progress: Array) -> tuple:
        """6. `(networks, moments, norm)`; with two optimisers each half has its moments, its rate and its bound."""
        rate, own = at(self.learning_rate, progress), self._own_rate
        if own is None:
            return descend(self.optimiser, gradient, moments, networks, rate, self.max_gradient_norm)
        size = ravel_pytree(unravel(networks)[0])[0].size
        halves = zip(jnp.split(gradient, [size]), moments, jnp.split(networks, [size]), strict=True)
        pairs = zip(halves, (rate, at(own, progress)), strict=True)
        done = [descend(self.optimiser, *half, each, self.max_gradient_norm) for half, each in pairs]
        parts, moments, norms = zip(*done, strict=True)
        return jnp.concatenate(parts), moments, jnp.hypot(*norms)

    def _loss(self, networks: Any, batch: Batch, beta: Any, context: Context) -> tuple[Array, dict[str, Array]]:
        (actor, critic), (times, (memory, _)), progress = networks, batch, context.clock.progress
        _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
        distribution = actor.distribution(outputs, context.spec.action_space, times.mask)
        log_ratio = distribution.log_prob(times.action) - times.log_prob
        advantage = times.advantage
        advantage = whiten(advantage)
        kl, entropy = jnp.mean(kl_k3(log_ratio)), jnp.mean(distribution.entropy())
        metrics = {"entropy": entropy, "approximate_kl": kl}
        if self.clip is None:
            policy_loss = jnp.mean(surrogate(log_ratio, advantage))
        else:
            clip = at(self.clip, progress)
            policy_loss = jnp.mean(clipped_surrogate(log_ratio, advantage, clip))
            metrics["clip_fraction"] = jnp.mean(jnp.float32(jnp.abs(jnp.exp(log_ratio) - 1.0) > clip))
        if self.penalty is not None:
            policy_loss = policy_loss + beta * kl
        value_clip = None if self.critic.clip is None else at(self.critic.clip, progress)
        of_values = value_loss(tied(actor, critic), batch, value_clip)
        bonus = at(self.entropy_coefficient, progress) * entropy
        metrics |= {"policy_loss": policy_loss, "value_loss": of_values}
        return policy_loss + self.value_coefficient * of_values - bonus, metrics
