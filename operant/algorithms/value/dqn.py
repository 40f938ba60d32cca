"""Deep Q-networks: Q-learning with a neural network, experience replay and a target network.

Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1; the double
estimator after van Hasselt et al. 2016, equation 4.

    for each iteration:
    1.    act epsilon-greedily for T steps in each environment and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') uniformly from the replay
    4.        y = r + discount max_a' Q_target(s', a'),  or r alone where s' is terminal
              (double: Q_target of the action that the online network prefers)
    5.        descend the squared (or Huber) loss of y - Q(s, a)
    6.    every `target_every` environment steps copy the online network to the target

Deviations from the paper: the squared loss instead of clipped errors by default, because rewards are not clipped
either (with values near 100 a threshold of 1 regresses to the median, forgets the rare terminal steps and diverges
on CartPole); Adam instead of RMSProp by default; epsilon follows training progress; a truncated
episode bootstraps from its true final observation. `warmup` and `target_every` count environment steps over all
environments and take effect between windows.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.spaces import Discrete
from jax import Array

from operant.contracts import Context, Ratio, Spec, Steps, Window
from operant.equations import huber, squared, td_target
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.encoders import encode, example, features_shape
from operant.parts.exploration import EpsilonGreedy, Exploration, refuse_counts
from operant.parts.heads import Network, has_memory, num_outputs
from operant.parts.networks import MLP, Recipe
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.replay import Uniform
from operant.parts.schedules import Linear, Scalar, at


class Transition(NamedTuple):
    """One row of the replay."""

    observation: Any
    action: Array
    reward: Array
    continues: Array
    next_observation: Any


class State(NamedTuple):
    policy: Network
    target: Network
    optimiser: Any
    replay: Any


@component
class DQN:
    learning_rate: Scalar = 2.5e-4
    discount: float = 0.99
    exploration: Exploration = EpsilonGreedy(Linear(1.0, 0.05, over=0.5))
    bootstrap: Literal["max", "double"] = "max"
    target_every: int = 500
    warmup: int = 10_000
    num_steps: int = 10
    num_updates: int = 1
    batch_size: int = 128
    huber_threshold: float | None = None  # None is the squared loss
    max_gradient_norm: float | None = None
    replay: Uniform = Uniform(10_000)
    network: Recipe = MLP((120, 84), "relu", "uniform")
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        if not isinstance(spec.action_space, Discrete):
            raise OperantError(f"dqn needs Discrete actions, not {spec.action_space}: ppo serves those")
        if self.bootstrap not in ("max", "double"):
            raise OperantError(f"unknown bootstrap {self.bootstrap!r}: known are max, double")
        refuse_counts(self.exploration, "dqn")
        check_range(self, 1, math.inf, "num_steps", "num_updates", "batch_size", "target_every")
        check_range(self, 0, math.inf, "warmup", "learning_rate", "huber_threshold", "max_gradient_norm")
        check_range(self, 0, 1, "discount")
        if has_memory(self.network, spec.observation_space):
            raise OperantError("dqn's replay holds single transitions and cannot train a network with memory")

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def init(self, key: Array, spec: Spec) -> State:
        shape = features_shape(spec.observation_space)
        network = Network(self.network, key, shape, num_outputs(spec.action_space), gain=None)
        observation = example(spec.observation_space)
        zero = jnp.float32(0.0)
        row = Transition(observation, jnp.int32(0), zero, zero, observation)
        replay = self.replay.init(row, block=self.num_steps * spec.num_envs)
        # Equal, but in buffers of its own: the state is donated.
        target = jax.tree.map(jnp.copy, network)
        return State(network, target, self.optimiser.transform().init(network), replay)

    def start(self, policy: Network, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Network, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        _, values = policy((), encode(context.spec.observation_space, observation))
        if not explore:
            return memory, jnp.argmax(values, axis=-1).astype(jnp.int32), ()
        return memory, self.exploration.select(key, values, context.clock.progress), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        # 1. into the replay
        steps = window.steps
        rows = Transition(steps.observation, steps.action, steps.reward, steps.continues, steps.next_observation)
        replay = self.replay.push(state.replay, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows))
        # 2. - 5. on the clock, so that it is a branch and not a mask
        per_window = steps.reward.size
        windows = context.clock.iteration + 1  # counted in these, for environment steps would outgrow int32
        learner = state.policy, state.optimiser

        def train() -> tuple[tuple, dict[str, Ratio]]:
            update = lambda learner, key: self._update(learner, state.target, replay, key, context)  # noqa: E731
            trained, metrics = jax.lax.scan(update, learner, jax.random.split(key, self.num_updates))
            return trained, {name: Ratio(jnp.mean(values), jnp.float32(1.0)) for name, values in metrics.items()}

        def wait() -> tuple[tuple, dict[str, Ratio]]:
            nothing = Ratio(jnp.float32(0.0), jnp.float32(0.0))
            return learner, dict.fromkeys(("loss", "value", "gradient_norm"), nothing)

        (network, optimiser), metrics = jax.lax.cond(windows > self.warmup // per_window, train, wait)
        # 6. the target, where a multiple of `target_every` was reached within this window
        crossed = windows % self.target_every * per_window % self.target_every < per_window
        target = jax.lax.cond(crossed, lambda: network, lambda: state.target)
        return State(network, target, optimiser, replay), metrics

    def _update(
        self, learner: tuple, target: Network, replay: Any, key: Array, context: Context
    ) -> tuple[tuple, dict[str, Array]]:
        network, moments = learner
        batch: Transition = self.replay.sample(replay, key, self.batch_size)
        gradient, metrics = jax.grad(self._loss, has_aux=True)(network, target, batch, context)
        rate = at(self.learning_rate, context.clock.progress)
        network, moments, norm = descend(self.optimiser, gradient, moments, network, rate, self.max_gradient_norm)
        return (network, moments), metrics | {"gradient_norm": norm}

    def _loss(
        self, network: Network, target: Network, batch: Transition, context: Context
    ) -> tuple[Array, dict[str, Array]]:
        space = context.spec.observation_space
        following = encode(space, batch.next_observation)
        values, next_values = network((), encode(space, batch.observation))[1], target((), following)[1]
        judged = network((), following)[1] if self.bootstrap == "double" else next_values
        # One-hot products: on a few actions they are faster than gathers.
        best = jax.nn.one_hot(jnp.argmax(judged, axis=-1), values.shape[-1])
        taken = jax.nn.one_hot(batch.action, values.shape[-1])
        value = jnp.sum(values * taken, axis=-1)
        bootstrap = jnp.sum(next_values * best, axis=-1)
        y = td_target(batch.reward, batch.continues, bootstrap, self.discount)
        error = y - value
        loss = jnp.mean(squared(error) if self.huber_threshold is None else huber(error, self.huber_threshold))
        return loss, {"loss": loss, "value": jnp.mean(value)}
