"""From an observation as the environment gives it to the float32 features that a network reads.

Observations keep their structure and dtype up to here (uint8 stays uint8 through the replay); flattening,
[0, 255] -> [0, 1] and scaling by bounds that are far from order one happen inside the network's forward pass.
"""

import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from jax import Array

from operant.errors import OperantError
from operant.workers.masking import ACTION_MASK

# Bounds beyond this are a way of writing "unbounded" (gymnax uses the largest float32), not a scale.
LARGEST_BOUND = 1e6

# Bounds between these are of order one, and what lies between them is read as it is. Bounds are often far wider than
# what is ever seen (LunarLander's velocities reach a tenth of theirs): dividing by them where nothing asks for it makes
# features too small to learn from.
LARGE, SMALL = 10.0, 0.5


def is_image(space: gymnasium.Space) -> bool:
    """Whether features of `space` keep the three axes [height, width, channels] for a convolution."""
    return isinstance(space, Box) and len(space.shape) == 3


def is_channels_first(space: Box) -> bool:
    """Whether an image's first axis is the shortest, as in stacks of frames [4, 84, 84]: that one is the channels."""
    return space.shape[0] < min(space.shape[1:])


def is_bounded(space: Box) -> bool:
    """Whether every bound is a scale, and not a way of writing "unbounded"."""
    return bool(_known(space.low).all() and _known(space.high).all())


def _known(bound: np.ndarray) -> np.ndarray:
    # As floats: the lowest integer has no absolute value among its kind.
    return np.abs(bound.astype(float)) < LARGEST_BOUND


def encode(space: gymnasium.Space, observation: Any) -> Array:
    """Features float32 `[..., F]` (or `[..., H, W, C]` for images) of observations with leading axes `[...]`.

    Box: an entry whose finite bounds are far from order one (one of them beyond +-10, or less than 1 apart) is mapped
    to [-1, 1]; other entries pass. uint8 and other bounded images are mapped to [0, 1], and an image's first axis
    becomes its last where it is the shortest.
    Discrete and MultiDiscrete: one-hot. Dict and Tuple: the encoded parts, flattened and joined in order. The part
    `action_mask` of a Dict is no feature; what is left beside it, if it is one part, is encoded as if it were alone.
    """
    if isinstance(space, Box):
        features = jnp.asarray(observation).astype(jnp.float32)
        lead = features.shape[: features.ndim - len(space.shape)]
        if is_image(space):
            features = jnp.moveaxis(features, -3, -1) if is_channels_first(space) else features
            low, high = np.float32(space.low.min()), np.float32(space.high.max())
            return (features - low) / (high - low) if is_bounded(space) and high > low else features
        centre, radius = (scale.reshape(*[1] * len(lead), -1) for scale in _scales(space))
        return (features.reshape(*lead, -1) - centre) / radius
    if isinstance(space, Discrete):
        return jax.nn.one_hot(jnp.asarray(observation) - space.start, int(space.n))
    if isinstance(space, MultiDiscrete):
        numbers = jnp.asarray(observation)
        numbers = numbers.reshape(*numbers.shape[: numbers.ndim - space.nvec.ndim], -1)
        sizes, starts = space.nvec.ravel(), space.start.ravel()
        parts = [jax.nn.one_hot(numbers[..., i] - starts[i], int(n)) for i, n in enumerate(sizes)]
        return jnp.concatenate(parts, axis=-1)
    if isinstance(space, MultiBinary):
        features = jnp.asarray(observation).astype(jnp.float32)
        return features.reshape(*features.shape[: features.ndim - len(space.shape)], -1)
    if isinstance(space, Dict | Tuple):
        seen = [(name, part) for name, part in children(space) if name != ACTION_MASK]
        if len(seen) == 1 < len(space.spaces):
            return encode(seen[0][1], observation[seen[0][0]])
        return jnp.concatenate([_flat(part, encode(part, observation[name])) for name, part in seen], axis=-1)
    raise OperantError(f"observations of {type(space).__name__} cannot be encoded: use Box, Discrete, Dict or Tuple")


def _scales(space: Box) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the radius, float32 in the shape of `space`, that each entry is scaled by: 0 and 1 for most."""
    known = _known(space.low) & _known(space.high) & (space.high > space.low)
    low, high = np.where(known, space.low, -1.0), np.where(known, space.high, 1.0)
    centre, radius = (high + low) / 2, (high - low) / 2
    far = (np.maximum(-low, high) > LARGE) | (radius < SMALL)
    return np.where(far, centre, 0.0).astype(np.float32), np.where(far, radius, 1.0).astype(np.float32)


def children(space: Dict | Tuple) -> list[tuple[Any, gymnasium.Space]]:
    """The `(key, space)` pairs of a composite space, in the order of its leaves in a pytree."""
    return sorted(space.spaces.items()) if isinstance(space, Dict) else list(enumerate(space.spaces))


def _flat(space: gymnasium.Space, features: Array) -> Array:
    return features.reshape(*features.shape[:-3], -1) if is_image(space) else features


def features_shape(space: gymnasium.Space) -> tuple[int, ...]:
    """The shape of the features of one observation: `(F,)` or `(H, W, C)`."""
    return jax.eval_shape(lambda observation: encode(space, observation), example(space)).shape


def example(space: gymnasium.Space) -> Any:
    """One observation (or action) of `space` in the library's dtypes, all zeros: the template for shapes."""
    if isinstance(space, Dict):
        return {name: example(part) for name, part in children(space)}
    if isinstance(space, Tuple):
        return tuple(example(part) for _, part in children(space))
    return jnp.zeros(space.shape or (), canonical_dtype(space.dtype))


@functools.cache  # asked for at every step of a loop in Python
def canonical_dtype(dtype: Any) -> np.dtype:
    """The dtype in which the library keeps `dtype`: 64-bit numbers become 32-bit, everything else stays."""
    return np.dtype({"float64": "float32", "int64": "int32", "uint64": "uint32"}.get(np.dtype(dtype).name, dtype))
