"""What learners with an actor and a critic share: acting, the critic's word on a window, minibatches of it."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import gymnasium
import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Steps, Window
from operant.equations import clipped_value_loss, explained_variance, gae, kl_k3, squared
from operant.errors import OperantError
from operant.parts.component import check_range
from operant.parts.encoders import encode, features_shape
from operant.parts.masks import action_mask
from operant.parts.minibatches import check_minibatches, epochs
from operant.parts.networks import Recipe
from operant.parts.networks.heads import (
    Actor,
    Network,
    check_actions,
    check_bounds,
    flat_actions,
    has_memory,
    next_outputs,
    shaped_actions,
    tied,
)
from operant.parts.networks.spreads import Independent, Spread
from operant.parts.normalisers import Moments, ReturnScale, normalise, scaled_rewards, update
from operant.parts.optimisers import Optimiser, descend


class Policy(NamedTuple):
    actor: Actor
    moments: Moments  # of the features, where they are normalised


class Carried(NamedTuple):
    """What streams carry from window to window, zero at the start of an episode, `[slots, ...]`."""

    memory: Any  # the critic's
    returns: Array  # discounted sums of past rewards


class State(NamedTuple):
    policy: Policy
    critic: Network
    carried: Carried
    optimiser: Any
    scale: Moments  # of the sums that are carried
    beta: Any = ()  # the weight of a penalty that adapts, where there is one

    def learned(self, actor: Actor, critic: Network, optimiser: Any) -> "State":
        """The state with networks and moments after an update."""
        return self._replace(policy=self.policy._replace(actor=actor), critic=critic, optimiser=optimiser)


class Times(NamedTuple):
    """What an update reads of each step, `[T, B, ...]`."""

    features: Array
    action: Array  # as the distributions have them
    log_prob: Array  # by the policy that acted
    advantage: Array
    target: Array  # of the value
    last: Array
    mask: Array | None = None  # of legal actions, where the observations have one


class Valued(NamedTuple):
    """What advantages are made of, `[T, B]`."""

    rewards: Array  # normalised where the learner says so
    values: Array
    next_values: Array  # of the true final observation where a step is truncated


Batch: TypeAlias = tuple[Times, tuple[Any, Any]]  # with actor's and critic's memory before the first step, `[B, ...]`


class ActorCritic:
    """Mixed into learners with an actor and a critic, taught by running windows.

    A truncated step bootstraps from the value of its true final observation. Rewards and observations are normalised
    where `normalise` says so; log-probabilities of the actions are remembered. Networks with memory are trained by
    back-propagation through the whole window.
    """

    discount: float
    gae_lambda: float
    num_steps: int
    normalise: tuple[str, ...]
    network: Recipe
    optimiser: Optimiser
    log_std: Spread = Independent()
    masks: ClassVar[bool] = True

    def check_window(self, spec: Spec) -> None:
        """Raise `OperantError` where `spec` cannot be served or one of the fields above makes no sense."""
        check_actions(spec)
        check_bounds(spec.action_space)
        if unknown := set(self.normalise) - {"observations", "rewards"}:
            raise OperantError(f"cannot normalise {', '.join(sorted(unknown))}: known are observations, rewards")
        check_range(self, 1, math.inf, "num_steps")
        check_range(self, 0, 1, "discount", "gae_lambda")

    def check_minibatches(self, spec: Spec, num_minibatches: int) -> None:
        """Raise `OperantError` where a window cannot be cut into so many equal minibatches."""
        memory = has_memory(self.network, spec.observation_space)
        columns = spec.num_envs * (1 if memory else self.num_steps)
        whole = "environments (with memory a window's steps stay together)"
        check_minibatches(columns, num_minibatches, whole if memory else "steps x environments")

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def fresh(self, key: Array, spec: Spec) -> State:
        """The state before the first step, without an optimiser's moments."""
        key_actor, key_critic = jax.random.split(key)
        shape = features_shape(spec.observation_space)
        actor = Actor(self.network, key_actor, shape, spec.action_space, gain=0.01, spread=self.log_std)
        critic = Network(self.network, key_critic, shape, 1, gain=1.0)
        policy = Policy(actor, Moments.init(shape))
        carried = Carried(critic.start(spec.num_envs), jnp.zeros(spec.num_envs))
        return State(policy, critic, carried, (), Moments.init())

    def init(self, key: Array, spec: Spec) -> State:
        """The state before the first step; one optimiser for actor and critic together, as one flat vector."""
        state = self.fresh(key, spec)
        networks, _ = ravel_pytree((state.policy.actor, state.critic))
        return state._replace(optimiser=self.optimiser.transform().init(networks))

    def start(self, policy: Policy, key: Array, spec: Spec) -> Any:
        return policy.actor.network.start(spec.num_envs)

    def act(
        self, policy: Policy, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        space = context.spec.action_space
        memory, outputs = policy.actor.network(memory, self._features(policy, observation, context.spec))
        mask = action_mask(context.spec.observation_space, observation)
        distribution = policy.actor.distribution(outputs, space, mask)
        if not explore:
            return memory, shaped_actions(space, distribution.mode()), ()
        action, log_prob = distribution.sample_and_log_prob(key)
        return memory, shaped_actions(space, action), log_prob

    def estimate(self, state: State, window: Window, context: Context) -> tuple[State, Batch, dict[str, Array]]:
        """Advantages by GAE and value targets = advantages + values, by the critic as it is before the update.

        The state returned has the memory and the statistics after the window; its networks are still the same.
        """
        steps, policy, spec = window.steps, state.policy, context.spec
        features = self._features(policy, steps.observation, spec)
        following = self._features(policy, steps.next_observation, spec)
        memory = jax.tree.map(lambda leaf: leaf[window.slots], state.carried.memory)
        critic = tied(policy.actor, state.critic)
        remembered, values, after = critic.unroll(memory, features, steps.last)
        next_values = next_outputs(critic, values, after, following, steps.truncated)[..., 0]
        values = values[..., 0]
        before = ReturnScale(state.scale, state.carried.returns)
        (scale, returns), rewards = scaled_rewards(self.normalise, before, window, self.discount)
        valued = Valued(rewards, values, next_values)
        advantages, targets = self.judged(state, window, features, valued, context)
        action = flat_actions(spec.action_space, steps.action)
        mask = action_mask(spec.observation_space, steps.observation)
        times = Times(features, action, steps.extras, advantages, targets, steps.last, mask)
        # The statistics change last: everything above saw the observations as the acting policy did.
        if "observations" in self.normalise:
            moments = update(policy.moments, encode(spec.observation_space, steps.observation))
            policy = policy._replace(moments=moments)
        put = lambda whole, part: whole.at[window.slots].set(part)  # noqa: E731
        carried = Carried(jax.tree.map(put, state.carried.memory, remembered), returns)
        state = state._replace(policy=policy, carried=carried, scale=scale)
        metrics = {
            "explained_variance": explained_variance(values, targets),
            "target_min": jnp.min(targets),
            "target_max": jnp.max(targets),
        }
        return state, (times, (window.memory, memory)), metrics

    def judged(
        self, state: State, window: Window, features: Array, valued: Valued, context: Context
    ) -> tuple[Array, Array]:
        """Advantages and value targets, `[T, B]`."""
        steps = window.steps
        advantages = gae(*valued, steps.continues, steps.last, self.discount, self.gae_lambda)
        return advantages, advantages + valued.values

    def _features(self, policy: Policy, observation: Any, spec: Spec) -> Array:
        features = encode(spec.observation_space, observation)
        return normalise(policy.moments, features) if "observations" in self.normalise else features


def batch_epochs(
    update: Callable[[Any, Batch], tuple[Any, dict[str, Array]]],
    learner: Any,
    batch: Batch,
    key: Array,
    num_epochs: int,
    num_minibatches: int,
) -> tuple[Any, dict[str, Array]]:
    """`epochs` of `update(learner, minibatch) -> (learner, metrics)`; returns the learner and the means of the metrics.

    Minibatches are of whole environments `[T, b]` where the networks have memory, of single steps `[1, b]` otherwise.
    Consumes `key`.
    """
    times, memories = batch
    if jax.tree.leaves(memories):
        cut = lambda leaf: jnp.swapaxes(leaf, 0, 1)  # noqa: E731
    else:
        cut = lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:])  # noqa: E731

    def step(learner: Any, columns: Batch) -> tuple[Any, dict[str, Array]]:
        rows, memories = columns
        return update(learner, (jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), rows), memories))

    learner, metrics = epochs(step, learner, (jax.tree.map(cut, times), memories), key, num_epochs, num_minibatches)
    return learner, jax.tree.map(jnp.mean, metrics)


def value_loss(critic: Network, batch: Batch, clip: Array | None = None) -> Array:
    """Half the mean squared error of the critic's values, clipped around the old ones where `clip` is given; scalar."""
    times, (_, memory) = batch
    _, values, _ = critic.unroll(memory, times.features, times.last)
    if clip is None:
        return jnp.mean(squared(values[..., 0] - times.target))
    return jnp.mean(clipped_value_loss(values[..., 0], times.target - times.advantage, times.target, clip))


def divergence(actor: Actor, batch: Batch, space: gymnasium.Space) -> Array:
    """How far `actor` is from the policy that acted: the mean of k3 over the window's steps, in nats; a scalar."""
    times, (memory, _) = batch
    _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
    return jnp.mean(kl_k3(actor.distribution(outputs, space, times.mask).log_prob(times.action) - times.log_prob))


def fit_critic(
    optimiser: Optimiser,
    critic: Network,
    moments: Any,
    batch: Batch,
    key: Array,
    learning_rate: Array,
    num_epochs: int,
    num_minibatches: int,
) -> tuple[Network, Any, dict[str, Array]]:
    """Regression of the values on their targets by epochs of minibatches: `(critic, moments, metrics)`."""

    def step(learner: tuple, minibatch: Batch) -> tuple[tuple, dict[str, Array]]:
        critic, moments = learner
        loss, gradient = jax.value_and_grad(value_loss)(critic, minibatch)
        critic, moments, _ = descend(optimiser, gradient, moments, critic, learning_rate)
        return (critic, moments), {"value_loss": loss}

    learner, metrics = batch_epochs(step, (critic, moments), batch, key, num_epochs, num_minibatches)
    return *learner, metrics
