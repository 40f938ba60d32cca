"""Vanilla policy gradient: the likelihood-ratio gradient with a learned baseline.

Source: Sutton et al. 2000, "Policy Gradient Methods for Reinforcement Learning with Function Approximation",
theorem 1; the advantages and the fitting of the baseline after Schulman et al. 2016, "High-Dimensional Continuous
Control Using Generalized Advantage Estimation", section 6.

    for each iteration:
    1.    run the policy for T steps in each of N environments
    2.    compute advantages by GAE and value targets = advantages + values
    3.    g = mean of  grad log pi(a_t|s_t) A_t
    4.    take one optimiser's step of the actor along g
    5.    fit the values to their targets: K epochs of shuffled minibatches

It differs from REINFORCE in its baseline, which knows the state and lets windows end before episodes do; from A2C in
long windows, to which the critic is fitted on its own; from TRPO in step 4, which is bounded there.

Deviations from the papers: a window runs on over the ends of episodes; the critic is fitted by minibatches of an
optimiser rather than within a trust region; states are not weighted by discount^t; rewards are scaled by the spread of
their returns. Advantages are not normalised: Adam does not see their scale. A network with memory is trained by
back-propagation through the whole window, minibatches are then made of whole environments.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Spec, Window
from operant.equations import policy_gradient
from operant.parts.component import check_positive, check_range, component
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.heads import Actor
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.policies.actor_critic import ActorCritic, Batch, State, divergence, fit_critic
from operant.parts.schedules import Linear, Scalar, at


@component
class VPG(ActorCritic):
    learning_rate: Scalar = Linear(1e-2, 0.0)
    critic_learning_rate: Scalar = 1e-3
    discount: float = 0.99
    gae_lambda: float = 0.97
    max_gradient_norm: float | None = None
    num_steps: int = 256
    num_epochs: int = 10
    num_minibatches: int = 8
    normalise: tuple[str, ...] = ("rewards",)  # of "observations", "rewards"
    network: Recipe = MLP((64, 64), "tanh")
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        self.check_window(spec)
        check_range(self, 1, math.inf, "num_epochs", "num_minibatches")
        check_range(self, 0, math.inf, "learning_rate", "critic_learning_rate")
        check_positive(self, "max_gradient_norm")
        self.check_minibatches(spec, self.num_minibatches)

    def init(self, key: Array, spec: Spec) -> State:
        state, transform = self.fresh(key, spec), self.optimiser.transform()
        return state._replace(optimiser=(transform.init(state.policy.actor), transform.init(state.critic)))

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        progress, (of_actor, of_critic) = context.clock.progress, state.optimiser
        # 2.
        state, batch, metrics = self.estimate(state, window, context)
        # 3. - 4.
        actor = state.policy.actor
        gradient, losses = jax.grad(self._loss, has_aux=True)(actor, batch, context)
        rate = at(self.learning_rate, progress)
        actor, of_actor, norm = descend(self.optimiser, gradient, of_actor, actor, rate, self.max_gradient_norm)
        # 5.
        rate = at(self.critic_learning_rate, progress)
        critic, of_critic, fitted = fit_critic(
            self.optimiser, state.critic, of_critic, batch, key, rate, self.num_epochs, self.num_minibatches
        )
        moved = divergence(actor, batch, context.spec.action_space)
        metrics |= losses | fitted | {"gradient_norm": norm, "approximate_kl": moved}
        return state.learned(actor, critic, (of_actor, of_critic)), metrics

    def _loss(self, actor: Actor, batch: Batch, context: Context) -> tuple[Array, dict[str, Array]]:
        times, (memory, _) = batch
        _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
        distribution = actor.distribution(outputs, context.spec.action_space, times.mask)
        loss = jnp.mean(policy_gradient(distribution.log_prob(times.action), times.advantage))
        return loss, {"policy_loss": loss, "entropy": jnp.mean(distribution.entropy())}
