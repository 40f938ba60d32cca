"""Action masks inside programs: illegal actions lose their probability, or their value.

A mask is no feature of the observation (`encoders` leaves it out); it acts on the network's outputs alone.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.contracts import Spec, Window
from operant.workers.masking import ACTION_MASK, choices, has_mask


def action_mask(space: gymnasium.Space, observation: Any) -> Array | None:
    """The mask in observations `[..., ...]` of `space`, bool `[..., actions]`; None where they have none."""
    if not has_mask(space):
        return None
    parts = jax.tree.leaves(observation[ACTION_MASK])
    return jnp.concatenate([jnp.asarray(part).astype(bool) for part in parts], axis=-1)


def masked(outputs: Array, mask: Array | None) -> Array:
    """Logits `[..., actions]`, the dtype's lowest number where `mask` is false.

    No gradient reaches an illegal action's output. The lowest number and not -inf: differences of two stay finite.
    """
    return outputs if mask is None else jnp.where(mask, outputs, jnp.finfo(outputs.dtype).min)


def legal_actions(space: gymnasium.Space, observation: Any) -> Array | None:
    """Over which actions values range, bool `[..., A]`: those that the mask allows; None where there is no mask.

    All where it allows none: the last observation of an episode may have such a mask, and its value counts for nothing.
    """
    mask = action_mask(space, observation)
    return None if mask is None else mask | ~jnp.any(mask, axis=-1, keepdims=True)


def restricted(values: Array, legal: Array | None) -> Array:
    """Action values `[..., A]`, the dtype's lowest number where `legal` is false: no choice of the best.

    What is legal stays above it, even where a network that diverges says -inf or no number at all.
    """
    if legal is None:
        return values
    return masked(jnp.nan_to_num(values, neginf=float(jnp.finfo(values.dtype).min) / 2), legal)


def shown(values: Array, mask: Array | None) -> Array:
    """Action values `[..., A]` for people: -inf where `mask` is false."""
    return values if mask is None else jnp.where(mask, values, -jnp.inf)


def stuck(spec: Spec, window: Window) -> Array:
    """Whether, in some step that counts, the mask left a choice without a legal action; a scalar."""
    mask = action_mask(spec.observation_space, window.steps.observation)
    if mask is None:
        return jnp.bool_(False)
    parts = jnp.split(mask, np.cumsum(choices(spec.action_space))[:-1], axis=-1)
    free = jnp.all(jnp.stack([jnp.any(part, axis=-1) for part in parts]), axis=0)
    return jnp.any(~free if window.valid is None else ~free & window.valid)
