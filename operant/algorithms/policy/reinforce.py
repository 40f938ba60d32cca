"""REINFORCE: the score-function gradient of the return, from whole episodes.

Source: Williams 1992; Sutton & Barto 2018, section 13.3-13.4 (the box "REINFORCE with baseline").

    for each iteration:
    1.    run one whole episode in each of N environments
    2.    G_t = sum over k >= t of discount^(k-t) r_k
    3.    b_t = mean of G_t over the other environments' episodes (0 after they end)
    4.    ascend  1/N sum over episodes and t of (G_t - b_t) grad log pi(a_t|s_t)  +  c_e grad entropy

Deviations from the book: the factor discount^t is left out, as everywhere in practice (with a discount of 1 the
gradient is exact); the baseline is the leave-one-out mean, which does not depend on the action and so keeps the
gradient unbiased; N episodes to an update. An episode that reaches the time limit counts what it collected.
"""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Episodes, Spec, Window
from operant.equations import discounted_returns, policy_gradient
from operant.parts.component import check_positive, check_range, component
from operant.parts.encoders import encode, features_shape
from operant.parts.masks import action_mask
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.heads import Actor, check_actions, check_bounds, flat_actions, shaped_actions
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.schedules import Linear, Scalar, at


class State(NamedTuple):
    policy: Actor
    optimiser: Any


@component
class REINFORCE:
    learning_rate: Scalar = 2e-3
    discount: float = 0.99
    entropy_coefficient: Scalar = Linear(0.001, 0.0)
    max_gradient_norm: float | None = None
    baseline: bool = True
    network: Recipe = MLP((64, 64), "tanh")
    optimiser: Optimiser = Adam()
    masks: ClassVar[bool] = True

    def check(self, spec: Spec) -> None:
        check_actions(spec)
        check_bounds(spec.action_space)
        check_range(self, 0, 1, "discount")
        check_range(self, 0, math.inf, "learning_rate")
        check_positive(self, "max_gradient_norm")

    def window(self) -> Episodes:
        return Episodes()

    def init(self, key: Array, spec: Spec) -> State:
        actor = Actor(self.network, key, features_shape(spec.observation_space), spec.action_space, gain=0.01)
        return State(actor, self.optimiser.transform().init(actor))

    def start(self, policy: Actor, key: Array, spec: Spec) -> Any:
        return policy.network.start(spec.num_envs)

    def act(
        self, policy: Actor, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        space = context.spec.action_space
        memory, outputs = policy.network(memory, encode(context.spec.observation_space, observation))
        distribution = policy.distribution(outputs, space, action_mask(context.spec.observation_space, observation))
        action = distribution.sample(key) if explore else distribution.mode()
        return memory, shaped_actions(space, action), ()

    def gradient(self, policy: Actor, window: Window, context: Context) -> tuple[Actor, dict[str, Array]]:
        """The descent direction `[like policy]` and metrics of one window of whole episodes."""
        steps, spec = window.steps, context.spec
        assert window.valid is not None, "whole episodes carry their mask"
        valid = window.valid.astype(jnp.float32)
        # 2. Beyond the first end nothing counts; up to it no step is cut.
        rewards = steps.reward * valid
        nothing = jnp.zeros_like(rewards)
        returns = discounted_returns(rewards, nothing, steps.continues, steps.last, self.discount)
        # 3.
        episodes = rewards.shape[1]
        others = max(episodes - 1, 1)
        mean = (jnp.sum(returns * valid, axis=1, keepdims=True) - returns * valid) / others
        advantages = (returns - mean if self.baseline else returns) * valid

        def loss(actor: Actor) -> tuple[Array, Array]:
            features = encode(spec.observation_space, steps.observation)
            _, outputs, _ = actor.network.unroll(window.memory, features, steps.last)
            mask = action_mask(spec.observation_space, steps.observation)
            distribution = actor.distribution(outputs, spec.action_space, mask)
            log_prob = distribution.log_prob(flat_actions(spec.action_space, steps.action))
            entropy = jnp.sum(distribution.entropy() * valid) / episodes
            objective = jnp.sum(policy_gradient(log_prob, advantages)) / episodes
            bonus = at(self.entropy_coefficient, context.clock.progress) * entropy
            return objective - bonus, entropy * episodes / jnp.sum(valid)

        gradient, entropy = jax.grad(loss, has_aux=True)(policy)
        return gradient, {"entropy": entropy}

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        gradient, metrics = self.gradient(state.policy, window, context)
        rate = at(self.learning_rate, context.clock.progress)
        actor, moments, norm = descend(
            self.optimiser, gradient, state.optimiser, state.policy, rate, self.max_gradient_norm
        )
        return State(actor, moments), metrics | {"gradient_norm": norm}
