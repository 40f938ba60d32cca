"""Actions drawn uniformly, whatever is observed: the mark that everything learned has to beat.

1. a ~ Uniform(A): each discrete action equally likely (where there is an action_mask, each legal one), each bounded
   real action uniform over its bounds. An action without bounds, over which nothing is uniform, is standard normal.

Nothing is learned, and acting greedily is the same as exploring.
"""

from typing import Any, ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.contracts import Context, Spec, Steps, Window
from operant.parts.component import component
from operant.parts.masks import action_mask, masked
from operant.parts.networks.heads import check_actions, discrete, num_outputs


class State(NamedTuple):
    policy: Array  # nothing: a zero, so that there is something to keep


@component
class Random:
    masks: ClassVar[bool] = True

    def check(self, spec: Spec) -> None:
        check_actions(spec)

    def window(self) -> Steps:
        return Steps(32)

    def init(self, key: Array, spec: Spec | None) -> State:
        return State(jnp.zeros(()))

    def start(self, policy: Array, key: Array, spec: Spec) -> Any:
        return ()

    def act(
        self, policy: Array, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        batch, space = jax.tree.leaves(observation)[0].shape[0], context.spec.action_space
        mask = action_mask(context.spec.observation_space, observation)
        if mask is None:
            return memory, uniform(space, key, batch), ()
        return memory, discrete(masked(jnp.zeros((batch, num_outputs(space))), mask), space).sample(key), ()

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        return state, {}


def uniform(space: gymnasium.Space, key: Array, batch: int) -> Array:
    """Actions `[batch, ...]` of a learner's action space (Discrete, MultiDiscrete or Box)."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.random.randint(key, (batch,), 0, int(space.n))
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return jax.random.randint(key, (batch, len(space.nvec)), 0, jnp.asarray(space.nvec, jnp.int32)[None])
    assert isinstance(space, gymnasium.spaces.Box)
    if np.isfinite(space.low).all() and np.isfinite(space.high).all():
        return jax.random.uniform(key, (batch, *space.shape), minval=space.low[None], maxval=space.high[None])
    return jax.random.normal(key, (batch, *space.shape))
