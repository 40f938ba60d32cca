"""Semi-gradient TD(0): the values of acting at random, linear in tiles.

Source: Sutton & Barto 2018, section 9.3 (the box "Semi-gradient TD(0) for estimating v").

    for each step:
    1.    take A by the policy, observe R, S'
    2.    w += alpha [R + discount v(S', w) - v(S, w)] grad v(S, w),  without the bootstrap where S' is terminal

The gradient is 1 at the `num_tilings` tiles that hold S, and `learning_rate` is divided among them.

Deviations from the book: the policy that is judged draws every action alike; a truncated episode bootstraps from its
true final observation. Several environments are learned from one after the other.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Online, Ratio, Spec, Window
from operant.equations import td_error
from operant.parts.component import check_range, component
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.tables import num_actions
from operant.parts.tabular.tiles import Tiles


class State(NamedTuple):
    policy: Array  # w, [tiles]


@component
class SemiGradientTD:
    learning_rate: Scalar = 0.1  # divided by the number of tilings
    discount: float = 1.0
    tiles: Tiles = Tiles()

    def check(self, spec: Spec) -> None:
        num_actions(spec.action_space)
        self.tiles.size(spec.observation_space)
        check_range(self, 0, 1, "discount")
        check_range(self, 0, math.inf, "learning_rate")

    def window(self) -> Online:
        return Online()

    def init(self, key: Array, spec: Spec) -> State:
        return State(jnp.zeros(self.tiles.size(spec.observation_space)))

    def start(self, policy: Array, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Array, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        # 1. The random policy is what is being judged, so that evaluating follows it too.
        shape = (context.spec.num_envs,)
        return memory, jax.random.randint(key, shape, 0, num_actions(context.spec.action_space)), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        steps, space = window.steps, context.spec.observation_space
        alpha = at(self.learning_rate, context.clock.progress) / self.tiles.num_tilings
        here, following = (self.tiles.features(space, seen) for seen in (steps.observation, steps.next_observation))

        def step(weights: Array, inputs: tuple) -> tuple[Array, Array]:
            tiles, after, reward, continues = inputs
            # 2.
            values = jnp.sum(weights[tiles]), jnp.sum(weights[after])
            error = td_error(values[0], reward, continues, values[1], self.discount)
            return weights.at[tiles].add(alpha * error), jnp.abs(error)

        columns = here, following, steps.reward, steps.continues
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), columns)
        weights, errors = jax.lax.scan(step, state.policy, flat)
        return State(weights), {"td_error": Ratio(jnp.sum(errors), jnp.float32(errors.size))}
