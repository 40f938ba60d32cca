"""Episodic semi-gradient SARSA: on-policy control with action values linear in tiles.

Source: Sutton & Barto 2018, section 10.1 (the box "Episodic Semi-gradient Sarsa for Estimating q").

    for each step:
    1.    take A, observe R, S'
    2.    where S' is terminal:  w += alpha [R - q(S, A, w)] grad q(S, A, w)
    3.    choose A' from q(S', ., w) by the exploration rule
    4.    w += alpha [R + discount q(S', A', w) - q(S, A, w)] grad q(S, A, w)

Every action has weights of its own over the tiles; the gradient is 1 at the `num_tilings` tiles that hold S, and
`learning_rate` is divided among them, so that 1 would move q all the way.

Deviations from the book: the update of 4. is made when A' has been taken, before the next action is chosen, which is
the same arithmetic; a truncated episode bootstraps from its true final observation, with the value of the exploration
rule there.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Online, Outlook, Ratio, Spec, Window
from operant.equations import expected_value, td_error
from operant.parts.component import check_range, component
from operant.parts.exploration import EpsilonGreedy, Exploration, Options, refuse_counts
from operant.parts.schedules import Scalar, at
from operant.parts.tabular.tables import num_actions, read
from operant.parts.tabular.tiles import Tiles


class Pending(NamedTuple):
    """A step that waits for the next action; leaves `[num_envs, ...]`."""

    tiles: Array  # int32 [num_tilings]
    action: Array
    reward: Array
    waits: Array  # bool: false at the start of an episode


class State(NamedTuple):
    policy: Array  # w, [A, tiles]
    carried: Pending


@component
class SemiGradientSARSA:
    learning_rate: Scalar = 0.5  # divided by the number of tilings
    discount: float = 1.0
    exploration: Exploration = EpsilonGreedy(0.0)
    tiles: Tiles = Tiles()

    def check(self, spec: Spec) -> None:
        num_actions(spec.action_space)
        self.tiles.size(spec.observation_space)
        refuse_counts(self.exploration, "semi-gradient-sarsa")
        check_range(self, 0, 1, "discount")
        check_range(self, 0, math.inf, "learning_rate")

    def window(self) -> Online:
        return Online()

    def init(self, key: Array, spec: Spec) -> State:
        weights = jnp.zeros((num_actions(spec.action_space), self.tiles.size(spec.observation_space)))
        envs = spec.num_envs
        tiles, action = jnp.zeros((envs, self.tiles.num_tilings), jnp.int32), jnp.zeros(envs, jnp.int32)
        return State(weights, Pending(tiles, action, jnp.zeros(envs), jnp.zeros(envs, bool)))

    def start(self, policy: Array, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Array, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        # 3.
        values = action_values(policy, self.tiles.features(context.spec.observation_space, observation))
        if not explore:
            return memory, jnp.argmax(values, axis=-1).astype(jnp.int32), ()
        return memory, self.exploration.select(key, Options(values), context.clock.progress), ()

    def outlook(self, policy: Array, memory: Any, observation: Any, context: Context) -> Outlook:
        return Outlook(action_values(policy, self.tiles.features(context.spec.observation_space, observation)))

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        steps, space, progress = window.steps, context.spec.observation_space, context.clock.progress
        alpha = at(self.learning_rate, progress) / self.tiles.num_tilings
        here, following = (self.tiles.features(space, seen) for seen in (steps.observation, steps.next_observation))

        def step(carry: tuple[Array, Pending], inputs: tuple) -> tuple[tuple[Array, Pending], Array]:
            """The columns, one after the other: each environment's step completes the one before it."""
            weights, pending = carry
            slot, tiles, after, action, reward, continues, last = inputs
            before = jax.tree.map(lambda leaf: leaf[slot], pending)
            # 4.
            value = read(action_values(weights, tiles), action)
            old = read(weights, before.action, before.tiles)
            error = before.waits * td_error(jnp.sum(old), before.reward, 1.0, value, self.discount)
            weights = weights.at[before.action, before.tiles].add(alpha * error)
            # 2. and the end by truncation
            values = action_values(weights, after)
            cut = expected_value(values, self.exploration.probabilities(Options(values), progress))
            value = jnp.sum(read(weights, action, tiles))
            weights = weights.at[action, tiles].add(
                last * alpha * td_error(value, reward, continues, cut, self.discount)
            )
            now = Pending(tiles, action, reward, ~last)
            return (weights, jax.tree.map(lambda leaf, new: leaf.at[slot].set(new), pending, now)), jnp.abs(error)

        columns = here, following, steps.action, steps.reward, steps.continues, steps.last
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), columns)
        slots = jnp.tile(window.slots, steps.reward.shape[0])
        (weights, pending), errors = jax.lax.scan(step, (state.policy, state.carried), (slots, *flat))
        return State(weights, pending), {"td_error": Ratio(jnp.sum(errors), jnp.float32(errors.size))}


def action_values(weights: Array, tiles: Array) -> Array:
    """q of each action, `[..., A]`, where the tiles `[..., num_tilings]` are 1."""
    return jnp.moveaxis(jnp.sum(weights[:, tiles], axis=-1), 0, -1)
