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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Steps, Window
from operant.equations import clipped_surrogate, explained_variance, gae, kl_k3
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.encoders import encode, features_shape
from operant.parts.heads import Actor, Network, flat_actions, has_memory, next_outputs, num_outputs, shaped_actions
from operant.parts.minibatches import epochs
from operant.parts.networks import MLP, Recipe
from operant.parts.normalisers import Moments, ReturnScale, normalise, update, update_and_scale
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.schedules import Linear, Scalar, at


class Policy(NamedTuple):
    actor: Actor
    moments: Moments  # of the features, where they are normalised


class State(NamedTuple):
    policy: Policy
    critic: Network
    memory: Any  # the critic's, [slots, ...]
    optimiser: Any
    scale: ReturnScale


class Times(NamedTuple):
    """What an update reads of each step, `[T, B, ...]`."""

    features: Array
    action: Array
    log_prob: Array
    advantage: Array
    target: Array
    last: Array


@component
class PPO:
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
        num_outputs(spec.action_space)
        if unknown := set(self.normalise) - {"observations", "rewards"}:
            raise OperantError(f"cannot normalise {', '.join(sorted(unknown))}: known are observations, rewards")
        check_range(self, 1, math.inf, "num_steps", "num_epochs", "num_minibatches")
        check_range(self, 0, 1, "discount", "gae_lambda")
        check_range(self, 0, math.inf, "learning_rate", "clip", "max_gradient_norm", "target_kl", "value_coefficient")
        memory = has_memory(self.network, spec.observation_space)
        columns = spec.num_envs * (1 if memory else self.num_steps)
        if columns % self.num_minibatches:
            what = "environments (the network has memory)" if memory else "steps x environments"
            raise OperantError(f"{columns} {what} cannot be cut into {self.num_minibatches} equal minibatches")
        if spec.num_envs * self.num_steps == self.num_minibatches:
            raise OperantError("advantages are normalised in each minibatch: one of a single step has none left")

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def init(self, key: Array, spec: Spec) -> State:
        key_actor, key_critic = jax.random.split(key)
        shape = features_shape(spec.observation_space)
        actor = Actor(self.network, key_actor, shape, spec.action_space, gain=0.01)
        critic = Network(self.network, key_critic, shape, 1, gain=1.0)
        moments = self.optimiser.transform().init(ravel_pytree((actor, critic))[0])
        policy = Policy(actor, Moments.init(shape))
        return State(policy, critic, critic.start(spec.num_envs), moments, ReturnScale.init(spec.num_envs))

    def start(self, policy: Policy, key: Array, spec: Spec) -> Any:
        return policy.actor.network.start(spec.num_envs)

    def act(
        self, policy: Policy, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        space = context.spec.action_space
        memory, outputs = policy.actor.network(memory, self._features(policy, observation, context.spec))
        distribution = policy.actor.distribution(outputs, space)
        if not explore:
            return memory, shaped_actions(space, distribution.mode()), ()
        action, log_prob = distribution.sample_and_log_prob(key)
        return memory, shaped_actions(space, action), log_prob

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        steps, policy = window.steps, state.policy
        features = self._features(policy, steps.observation, context.spec)
        following = self._features(policy, steps.next_observation, context.spec)
        # 2. advantages and value targets, by the critic as it is before the update
        memory = jax.tree.map(lambda leaf: leaf[window.slots], state.memory)
        carried, values, after = state.critic.unroll(memory, features, steps.last)
        next_values = next_outputs(state.critic, values, after, following, steps.truncated)[..., 0]
        values = values[..., 0]
        scale, rewards = state.scale, steps.reward
        if "rewards" in self.normalise:
            running = scale.returns[window.slots]
            continued, rewards = update_and_scale(scale._replace(returns=running), rewards, steps.last, self.discount)
            scale = continued._replace(returns=scale.returns.at[window.slots].set(continued.returns))
        advantages = gae(rewards, values, next_values, steps.continues, steps.last, self.discount, self.gae_lambda)
        targets = advantages + values
        # 3. epochs of shuffled minibatches
        action = flat_actions(context.spec.action_space, steps.action)
        times = Times(features, action, steps.extras, advantages, targets, steps.last)
        columns = self._columns(times, state.critic.recurrent), (window.memory, memory)
        # One flat vector of parameters, so that an optimiser's step is a few operations and not a few for each array.
        networks, unravel = ravel_pytree((policy.actor, state.critic))
        learner = networks, state.optimiser, jnp.bool_(False)
        step = partial(self._update, unravel=unravel, context=context)
        learner, metrics = epochs(step, learner, columns, key, self.num_epochs, self.num_minibatches)
        (networks, optimiser, _), (actor, critic) = learner, unravel(learner[0])
        metrics = jax.tree.map(jnp.mean, metrics) | {"explained_variance": explained_variance(values, targets)}
        # The statistics change last: everything above saw the observations as the acting policy did.
        moments = policy.moments
        if "observations" in self.normalise:
            moments = update(moments, encode(context.spec.observation_space, steps.observation))
        carried = jax.tree.map(lambda whole, part: whole.at[window.slots].set(part), state.memory, carried)
        return State(Policy(actor, moments), critic, carried, optimiser, scale), metrics

    def _features(self, policy: Policy, observation: Any, spec: Spec) -> Array:
        features = encode(spec.observation_space, observation)
        return normalise(policy.moments, features) if "observations" in self.normalise else features

    def _columns(self, times: Times, recurrent: bool) -> Times:
        """`[T, B, ...]` cut into what minibatches are made of: `[B, T, ...]` with memory, else `[T * B, 1, ...]`."""
        if recurrent:
            return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), times)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:]), times)

    def _update(self, learner: tuple, columns: tuple, unravel: Any, context: Context) -> tuple[tuple, dict[str, Array]]:
        """4.-6. One gradient step from one minibatch."""
        (networks, moments, stopped), (times, memories) = learner, columns
        batch = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), times)
        loss = lambda flat: self._loss(unravel(flat), batch, memories, context)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(networks)
        rate = at(self.learning_rate, context.clock.progress)
        updated = descend(self.optimiser, gradient, moments, networks, rate, self.max_gradient_norm)
        metrics["gradient_norm"] = updated[2]
        if self.target_kl is not None:
            stopped = stopped | (metrics["approximate_kl"] > self.target_kl)
            updated = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (networks, moments), updated[:2])
        return (updated[0], updated[1], stopped), metrics

    def _loss(self, networks: Any, batch: Times, memories: Any, context: Context) -> tuple[Array, dict[str, Array]]:
        actor, critic = networks
        _, outputs, _ = actor.network.unroll(memories[0], batch.features, batch.last)
        _, values, _ = critic.unroll(memories[1], batch.features, batch.last)
        distribution = actor.distribution(outputs, context.spec.action_space)
        log_ratio = distribution.log_prob(batch.action) - batch.log_prob
        advantage = batch.advantage
        advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
        clip, entropy = at(self.clip, context.clock.progress), jnp.mean(distribution.entropy())
        policy_loss = jnp.mean(clipped_surrogate(log_ratio, advantage, clip))
        value_loss = 0.5 * jnp.mean(jnp.square(values[..., 0] - batch.target))
        bonus = at(self.entropy_coefficient, context.clock.progress) * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "approximate_kl": jnp.mean(kl_k3(log_ratio)),
            "clip_fraction": jnp.mean(jnp.float32(jnp.abs(jnp.exp(log_ratio) - 1.0) > clip)),
        }
        return policy_loss + self.value_coefficient * value_loss - bonus, metrics
