"""A body with a head on it: what algorithms call a network, over batches and over time, with or without memory."""

import math
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from operant.contracts import Array, Spec
from operant.errors import OperantError
from operant.parts.distributions import Categorical, MultiCategorical, Normal
from operant.parts.encoders import features_shape, is_bounded
from operant.parts.masks import masked
from operant.parts.networks.layers import Linear
from operant.parts.networks.recipes import Recipe
from operant.parts.networks.spreads import Independent, Spread, StateDependent
from operant.parts.networks.value_networks import head_of
from operant.workers.masking import check_mask


class Network(eqx.Module):
    """Body and head: features `[..., F]` to outputs `[..., size]`.

    The head is linear, or where there are `num_actions` what the recipe makes for them. Of the body only the floating
    arrays are leaves (they are what is learned); the rest of a user's module, such as an activation function, is
    structure.
    """

    parameters: Any
    head: Any
    rest: Any = eqx.field(static=True)

    def __init__(
        self,
        recipe: Recipe,
        key: Array,
        shape: tuple[int, ...],
        size: int,
        gain: float | None,
        num_actions: int | None = None,
    ):
        key_body, key_head = jax.random.split(key)
        body = recipe(key_body, shape)
        self.parameters, self.rest = eqx.partition(body, eqx.is_inexact_array)
        example = jax.ShapeDtypeStruct(shape, jnp.float32)
        call = (lambda x: body(body.start(), x)[1]) if hasattr(body, "start") else body
        width = jax.eval_shape(call, example).shape
        if len(width) != 1:
            raise OperantError(f"a network's body must give one vector an observation, not an array of shape {width}")
        if num_actions is not None:
            self.head = head_of(recipe)(key_head, width[0], num_actions, size // num_actions)
        elif hasattr(recipe, "head"):
            raise OperantError(f"{type(recipe).__name__} is made for action values, which this algorithm does not have")
        else:
            self.head = Linear(key_head, width[0], size, gain)

    @property
    def body(self) -> Any:
        return eqx.combine(self.parameters, self.rest)

    @property
    def recurrent(self) -> bool:
        return hasattr(self.body, "start")

    def start(self, batch: int) -> Any:
        """Fresh memory `[batch, ...]`, `()` for a network without memory."""
        if not self.recurrent:
            return ()
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), self.body.start())

    def __call__(self, memory: Any, features: Array) -> tuple[Any, Array]:
        """One step of a batch: features `[B, F...]` to `(memory, outputs [B, size])`."""
        memory, hidden = self.hidden(memory, features)
        return memory, self.head(hidden)

    def hidden(self, memory: Any, features: Array) -> tuple[Any, Array]:
        """What the body makes of a batch: `(memory, hidden units [B, H])`."""
        if self.recurrent:
            return jax.vmap(self.body)(memory, features)
        return memory, jax.vmap(self.body)(features)

    def unroll(self, memory: Any, features: Array, last: Array) -> tuple[Any, Array, Any]:
        """Consecutive steps of a batch: features `[T, B, F...]` and `last [T, B]`, true where an episode ended.

        Returns the memory to continue with `[B, ...]`, restarted after each `last`; the outputs `[T, B, size]`;
        and the memory right after each step, before any restart, `[T, B, ...]`.
        """
        if not self.recurrent:
            return (), self.after((), features), ()

        def step(memory: Any, inputs: tuple[Array, Array]) -> tuple[Any, tuple[Array, Any]]:
            x, ended = inputs
            memory, outputs = self(memory, x)
            return restart(memory, self.start(ended.shape[0]), ended), (outputs, memory)

        memory, (outputs, after) = jax.lax.scan(step, memory, (features, last))
        return memory, outputs, after

    def after(self, memory: Any, features: Array) -> Array:
        """Outputs `[T, B, size]` of one more step from each memory `[T, B, ...]`, as `unroll` returns them."""
        # As one batch of T x B: nested batches cost XLA a transposition of every product.
        lead = features.shape[:2]
        memory, features = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (memory, features))
        return self(memory, features)[1].reshape(*lead, -1)


def next_outputs(network: Network, outputs: Array, after: Any, following: Array, ended: Array) -> Array:
    """A network's outputs `[T, B, size]` for what followed each step of a window, features `[T, B, F...]`.

    `outputs` and `after` are `unroll`'s for the window. Without memory, what followed is the next step's observation,
    already evaluated, except in the last step and where `ended [T, B]`: only the steps with such an end are computed,
    so that the rare ends do not cost a second pass over the window.
    """
    if network.recurrent:
        return network.after(after, following)
    length = ended.shape[0]
    needed = jnp.any(ended, axis=1).at[-1].set(True)
    (times,) = jnp.nonzero(needed, size=length, fill_value=length - 1)
    count = jnp.sum(needed, dtype=jnp.int32)
    shifted = jnp.roll(outputs, -1, axis=0)

    def compute(number: Array, result: Array) -> Array:
        t = times[number]
        exact = jnp.where((ended[t] | (t == length - 1))[:, None], network((), following[t])[1], result[t])
        return result.at[t].set(exact)

    return jax.lax.fori_loop(0, count, compute, shifted)


def has_memory(recipe: Recipe, space: gymnasium.Space) -> bool:
    """Whether a recipe's network for observations of `space` is recurrent; nothing is computed."""
    shape = features_shape(space)
    return hasattr(eqx.filter_eval_shape(lambda key: recipe(key, shape), jax.random.key(0)), "start")


def restart(memory: Any, fresh: Any, ended: Array) -> Any:
    """`fresh` where `ended [B]`, `memory` elsewhere, leaf by leaf."""

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(ended.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, fresh, memory)


class Actor(eqx.Module):
    """A stochastic policy: a network whose outputs parametrise a distribution over the action space.

    Continuous actions are a diagonal Normal whose log standard deviation is as `spread` says; they live in the unit
    box and are stored unclipped (the environment's edge clips).
    """

    network: Network
    log_std: Array | None
    bounds: tuple[float, float] | None = eqx.field(static=True)  # of a log standard deviation that is an output

    def __init__(
        self,
        recipe: Recipe,
        key: Array,
        shape: tuple[int, ...],
        space: gymnasium.Space,
        gain: float,
        spread: Spread = Independent(),  # noqa: B008, frozen
    ):
        size, continuous = num_outputs(space), isinstance(space, Box)
        self.bounds = (spread.low, spread.high) if continuous and isinstance(spread, StateDependent) else None
        self.network = Network(recipe, key, shape, size if self.bounds is None else 2 * size, gain)
        self.log_std = None
        if continuous and isinstance(spread, Independent):
            self.log_std = jnp.full(size, spread.initial, jnp.float32)

    def distribution(
        self, outputs: Array, space: gymnasium.Space, mask: Array | None = None
    ) -> Categorical | MultiCategorical | Normal:
        """The action distribution with batch shape `[...]` for the network's outputs `[..., size]`.

        Discrete actions where `mask`, bool `[..., size]`, is false have probability zero.
        """
        if isinstance(space, Discrete | MultiDiscrete):
            return discrete(masked(outputs, mask), space)
        if self.bounds is not None:
            mean, log_std = jnp.split(outputs, 2, axis=-1)
            return Normal(mean, jnp.clip(log_std, *self.bounds))
        assert self.log_std is not None
        return Normal(outputs, jnp.broadcast_to(self.log_std, outputs.shape))


def discrete(logits: Array, space: gymnasium.Space) -> Categorical | MultiCategorical:
    """The distribution over discrete actions for logits `[..., size]`, those of one choice after another."""
    if isinstance(space, Discrete):
        return Categorical(logits)
    assert isinstance(space, MultiDiscrete)
    ends = [int(sum(space.nvec[: i + 1])) for i in range(len(space.nvec) - 1)]
    return MultiCategorical(tuple(jnp.split(logits, ends, axis=-1)))


def bodiless(network: Network) -> Network:
    """The head alone, to be `tied` to another network's body."""
    return eqx.tree_at(lambda n: n.parameters, network, None)


def tied(actor: Actor, critic: Network) -> Network:
    """The critic as it computes: on the actor's body where it has none of its own."""
    if critic.parameters is not None:
        return critic
    return eqx.tree_at(lambda c: c.parameters, critic, actor.network.parameters, is_leaf=lambda leaf: leaf is None)


def num_outputs(space: gymnasium.Space) -> int:
    """How many outputs parametrise a policy over `space`; raises `OperantError` where none can."""
    if isinstance(space, Discrete):
        return int(space.n)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return int(space.nvec.sum())
    if isinstance(space, Box):
        return math.prod(space.shape)
    raise OperantError(f"actions of {type(space).__name__} are not served: use Discrete, MultiDiscrete or Box")


def check_bounds(space: gymnasium.Space) -> None:
    """Raise `OperantError` where actions have no bounds, which alone would tell how large they should be."""
    if isinstance(space, Box) and not is_bounded(space):
        raise OperantError(
            f"actions without bounds have no scale: {space} (give the environment's action space finite bounds, "
            "as gymnasium.wrappers.RescaleAction does)"
        )


def check_actions(spec: Spec) -> None:
    """Raise `OperantError` where no policy can be parametrised, or the observations' `action_mask` does not fit."""
    num_outputs(spec.action_space)
    check_mask(spec.observation_space, spec.action_space)


def flat_actions(space: gymnasium.Space, action: Array) -> Array:
    """Actions `[..., *space.shape]` as the distributions have them: Box actions flattened to `[..., D]`."""
    return action.reshape(*action.shape[: action.ndim - len(space.shape)], -1) if isinstance(space, Box) else action


def shaped_actions(space: gymnasium.Space, action: Array) -> Array:
    """The inverse of `flat_actions`."""
    return action.reshape(*action.shape[:-1], *space.shape) if isinstance(space, Box) else action
