"""Deterministic policy gradient: an actor that names one action, and a critic whose slope says where to move it.

Source: Silver et al. 2014, "Deterministic Policy Gradient Algorithms", section 4.2 (the off-policy deterministic
actor-critic, eqs. 16 to 18), with networks for the actor and the critic.

    for each iteration:
    1.    act by mu(s) + noise for T steps in each of N environments
    2.    y_t = r_t + discount Q(s_(t+1), mu(s_(t+1))),  or r_t alone where s_(t+1) is terminal
    3.    for K epochs, for each minibatch:
              critic: descend the mean of half (y_t - Q(s_t, a_t))^2, y held constant
              actor:  ascend the mean of Q(s_t, mu(s_t)), along  grad mu(s) grad_a Q(s, a) at a = mu(s)

It is the one-step actor-critic without the score function. A stochastic actor learns from how good the action was that
happened to be drawn, in every dimension at once; a deterministic one from the slope of Q in each dimension, so that it
needs a critic of actions, and smooth ones (docs/policy-gradients.md compares the two).

Deviations from the paper: windows of many environments in the place of single steps, targets by the networks as they
were before the window's updates; the critic is a network with layer normalisation, with which such updates are stable
without a replay or a target network (Gallici et al. 2024), not a compatible linear function; mu is bounded by tanh;
rewards are scaled by the spread of their returns; the bootstrap of a truncated step is from its true final observation.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.spaces import Box
from jax import Array

from operant.contracts import Context, Spec, Steps, Window
from operant.equations import squared, td_target
from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component
from operant.parts.encoders import encode, features_shape
from operant.parts.minibatches import check_minibatches, epochs
from operant.parts.networks import MLP, LayerNorm, Recipe
from operant.parts.networks.heads import Network, check_bounds, flat_actions, has_memory, num_outputs, shaped_actions
from operant.parts.normalisers import Moments, ReturnScale, scaled_rewards
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.schedules import Linear, Scalar, at


class State(NamedTuple):
    policy: Network  # mu before its tanh
    critic: Network  # Q of features and action
    optimiser: tuple[Any, Any]
    carried: Array  # `[B]`, discounted sums of past rewards
    scale: Moments  # of these


class Rows(NamedTuple):
    """Single steps, `[N, ...]`."""

    features: Array
    action: Array
    target: Array


@component
class DPG:
    learning_rate: Scalar = Linear(3e-4, 0.0)
    critic_learning_rate: Scalar = Linear(1e-3, 0.0)
    discount: float = 0.99
    noise: Scalar = Linear(1.0, 0.1)  # standard deviation, of actions in [-1, 1]
    num_steps: int = 8
    num_epochs: int = 4
    num_minibatches: int = 4
    max_gradient_norm: float | None = 10.0
    normalise: tuple[str, ...] = ("rewards",)
    network: Recipe = MLP((64, 64), "tanh")
    critic: Recipe = LayerNorm(MLP((128, 128), "relu"))  # the network of Q(s, a)
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        if not isinstance(spec.action_space, Box):
            raise OperantError(f"DPG needs continuous actions (a Box), not {spec.action_space}: ppo or dqn serve those")
        check_bounds(spec.action_space)
        memory = any(has_memory(recipe, spec.observation_space) for recipe in (self.network, self.critic))
        if len(features_shape(spec.observation_space)) > 1 or memory:
            raise OperantError("DPG's critic reads one vector of features and actions: no images, no memory")
        if unknown := set(self.normalise) - {"rewards"}:
            raise OperantError(f"DPG cannot normalise {', '.join(sorted(unknown))}: it knows rewards")
        check_range(self, 1, math.inf, "num_steps", "num_epochs", "num_minibatches")
        check_range(self, 0, math.inf, "learning_rate", "critic_learning_rate", "noise")
        check_range(self, 0, 1, "discount")
        check_positive(self, "max_gradient_norm")
        check_minibatches(self.num_steps * spec.num_envs, self.num_minibatches)

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def init(self, key: Array, spec: Spec) -> State:
        key_actor, key_critic = jax.random.split(key)
        (features,), size = features_shape(spec.observation_space), num_outputs(spec.action_space)
        actor = Network(self.network, key_actor, (features,), size, gain=0.01)
        critic = Network(self.critic, key_critic, (features + size,), 1, gain=1.0)
        transform = self.optimiser.transform()
        moments = transform.init(actor), transform.init(critic)
        return State(actor, critic, moments, jnp.zeros(spec.num_envs), Moments.init())

    def start(self, policy: Network, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Network, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        action = mu(policy, encode(context.spec.observation_space, observation))
        if explore:
            noise = at(self.noise, context.clock.progress) * jax.random.normal(key, action.shape)
            action = jnp.clip(action + noise, -1.0, 1.0)
        return memory, shaped_actions(context.spec.action_space, action), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        steps, space = window.steps, context.spec.observation_space
        # 2.
        before = ReturnScale(state.scale, state.carried)
        (scale, returns), rewards = scaled_rewards(self.normalise, before, window, self.discount)
        features, following = encode(space, steps.observation), encode(space, steps.next_observation)
        next_values = action_values(state.critic, following, mu(state.policy, following))
        target = td_target(rewards, steps.continues, next_values, self.discount)
        rows = Rows(features, flat_actions(context.spec.action_space, steps.action), target)
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
        # 3.
        learner = state.policy, state.critic, state.optimiser
        step = lambda learner, minibatch: self._update(learner, minibatch, context)  # noqa: E731
        learner, metrics = epochs(step, learner, rows, key, self.num_epochs, self.num_minibatches)
        actor, critic, optimiser = learner
        return State(actor, critic, optimiser, returns, scale), jax.tree.map(jnp.mean, metrics)

    def _update(self, learner: tuple, rows: Rows, context: Context) -> tuple[tuple, dict[str, Array]]:
        actor, critic, (of_actor, of_critic) = learner

        def error(critic: Network) -> tuple[Array, Array]:
            values = action_values(critic, rows.features, rows.action)
            return jnp.mean(squared(rows.target - values)), jnp.mean(values)

        def loss(actor: Network, critic: Network) -> Array:
            return -jnp.mean(action_values(critic, rows.features, mu(actor, rows.features)))

        (value_loss, value), slope = jax.value_and_grad(error, has_aux=True)(critic)
        policy_loss, gradient = jax.value_and_grad(loss)(actor, critic)
        bound, progress = self.max_gradient_norm, context.clock.progress
        rate, critic_rate = at(self.learning_rate, progress), at(self.critic_learning_rate, progress)
        critic, of_critic, _ = descend(self.optimiser, slope, of_critic, critic, critic_rate, bound)
        actor, of_actor, norm = descend(self.optimiser, gradient, of_actor, actor, rate, bound)
        metrics = {"value_loss": value_loss, "value": value, "policy_loss": policy_loss, "gradient_norm": norm}
        return (actor, critic, (of_actor, of_critic)), metrics


def mu(actor: Network, features: Array) -> Array:
    """The actor's actions `[..., D]` in [-1, 1] for features `[..., F]`."""
    return jnp.tanh(_batched(actor, features))


def action_values(critic: Network, features: Array, action: Array) -> Array:
    """Q `[...]` of features `[..., F]` and flat actions `[..., D]`."""
    return _batched(critic, jnp.concatenate([features, action], axis=-1))[..., 0]


def _batched(network: Network, features: Array) -> Array:
    return network((), features.reshape(-1, features.shape[-1]))[1].reshape(*features.shape[:-1], -1)
