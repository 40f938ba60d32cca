"""Running statistics: features to zero mean and unit variance, rewards by the spread of their returns.

Batches are merged into the running moments by the parallel formula of Chan, Golub and LeVeque (1983,
*Algorithms for computing the sample variance*), in weighted form: the variance is a mixture of variances and
stays right in float32 where sums of squares would cancel, and when the count outgrows what float32 resolves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Window


class Moments(NamedTuple):
    """Mean and (population) variance of everything seen; mean 0 and variance 1 before anything was."""

    mean: Array  # float32 [F] or []
    variance: Array  # float32, like mean
    count: Array  # float32 []: how many were seen

    @classmethod
    def init(cls, shape: tuple[int, ...] = ()) -> "Moments":
        """Moments of nothing yet, of features of `shape`."""
        return cls(jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32), jnp.zeros((), jnp.float32))


def update(moments: Moments, batch: Array) -> Moments:
    """`moments` with `batch` `[..., *features]` (at least one row) added; leading axes are all rows."""
    rows = batch.astype(jnp.float32).reshape(-1, *moments.mean.shape)
    # Measured from the first row: sums of large numbers would lose what distinguishes them.
    pilot = rows[0]
    rows = rows - pilot[None]
    batch_mean = jnp.mean(rows, axis=0)
    batch_variance = jnp.mean((rows - batch_mean[None]) ** 2, axis=0)
    count = moments.count + rows.shape[0]
    share = rows.shape[0] / count
    shift = (pilot - moments.mean) + batch_mean
    variance = (1 - share) * moments.variance + share * batch_variance + share * (1 - share) * shift**2
    # The first batch replaces the mean outright: from 0, a large one would be rounded.
    mean = jnp.where(moments.count > 0, moments.mean + share * shift, pilot + batch_mean)
    return Moments(mean, variance, count)


def normalise(moments: Moments, x: Array, clip: float = 10.0) -> Array:
    """`x` `[..., *features]` in standard deviations from the mean, clipped to `[-clip, clip]`, float32."""
    centred = x.astype(jnp.float32) - jnp.broadcast_to(moments.mean, x.shape)
    scale = jax.lax.rsqrt(moments.variance + 1e-8)
    return jnp.clip(centred * jnp.broadcast_to(scale, x.shape), -clip, clip)


class ReturnScale(NamedTuple):
    """What scaling rewards by the spread of discounted returns remembers."""

    moments: Moments  # of the running returns, scalars
    returns: Array  # float32 [B]: each slot's discounted sum of past rewards, 0 after an episode's last step

    @classmethod
    def init(cls, num_envs: int) -> "ReturnScale":
        return cls(Moments.init(), jnp.zeros((num_envs,), jnp.float32))


def update_and_scale(
    state: ReturnScale, rewards: Array, last: Array, discount: Array | float, clip: float = 10.0
) -> tuple[ReturnScale, Array]:
    """`(state, scaled rewards [T, B])` from a window's `rewards` and `last`, both `[T, B]`.

    The running return G_t = discount * G_{t-1} + r_t (backward-looking, zero before an episode's first step)
    enters the moments; rewards are divided by its standard deviation, not shifted, and clipped to
    `[-clip, clip]` (Engstrom et al. 2020, *Implementation Matters in Deep Policy Gradients*, section 2).

    Deviation: the usual wrapper updates its statistics after every step and scales each reward by those of the
    moment; here they are updated once a window, before any of its rewards is scaled, so that all of them share
    one scale. While the returns seen have no spread at all (one step, or no reward yet), rewards stay unscaled.
    """

    def step(running: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, end = inputs
        running = discount * running + reward
        return jnp.where(end, 0.0, running), running

    rewards = rewards.astype(jnp.float32)
    carry, returns = jax.lax.scan(step, state.returns, (rewards, last))
    moments = update(state.moments, returns)
    spread = moments.variance > jnp.finfo(jnp.float32).tiny  # below it rsqrt may be infinite
    scale = jnp.where(spread, jax.lax.rsqrt(moments.variance), 1.0)
    return ReturnScale(moments, carry), jnp.clip(rewards * scale, -clip, clip)


def scaled_rewards(
    names: tuple[str, ...], state: ReturnScale, window: Window, discount: Array | float
) -> tuple[ReturnScale, Array]:
    """`update_and_scale` in the slots that `window` continues; where "rewards" is not among `names`, all as it is."""
    rewards, last = window.steps.reward, window.steps.last
    if "rewards" not in names:
        return state, rewards
    begun = state._replace(returns=state.returns[window.slots])
    after, rewards = update_and_scale(begun, rewards, last, discount)
    return after._replace(returns=state.returns.at[window.slots].set(after.returns)), rewards
