"""Returns and advantages: what a step was worth, once what followed it is known.

Everywhere, time-major and per step: `rewards` R_{t+1}, `values` V(S_t) and `next_values` V(S_{t+1}) of the true
next observation (the one before an automatic reset), float [T, B]; `continues` float [T, B], 0 only where the
next state is terminal; `last` bool [T, B], true where the episode ended either way; `discount` γ, a number or an
array that broadcasts against [T, B].

Where what follows lies outside the window (its end) or outside the episode (a truncation) the return
bootstraps from `next_values`; after a terminal state there is nothing. With no value function to bootstrap from,
pass zeros as `next_values`: the return is then the sum up to the cut, exact for episodes that terminated.
Inside an episode `next_values[t]` is `values[t+1]`, by the same estimator.

Every function is differentiable in all its floating-point arguments; a learner that regresses on a return
holds it constant.
"""

from operant.equations._backend import Array, namespace
from operant.equations.recurrence import reverse_recurrence
from operant.errors import OperantError


def discounted_returns(
    rewards: Array, next_values: Array, continues: Array, last: Array, discount: Array | float
) -> Array:
    """G_t = R_{t+1} + γ G_{t+1} to the end of the episode or window, [T, B] (Sutton & Barto 2018, eq. 3.9)."""
    return lambda_returns(rewards, next_values, continues, last, discount, 1.0)


def lambda_returns(
    rewards: Array, next_values: Array, continues: Array, last: Array, discount: Array | float, trace: Array | float
) -> Array:
    """G_t = R_{t+1} + γ ((1-λ) V(S_{t+1}) + λ G_{t+1}), λ = `trace`, [T, B] (Sutton & Barto 2018, eq. 12.18).

    λ = 0 is the one-step target, λ = 1 the discounted return.
    """
    onward = trace * _inside(last, rewards)
    decay = discount * continues
    return reverse_recurrence(decay * onward, rewards + decay * (1.0 - onward) * next_values, next_values[-1])


def n_step_returns(
    rewards: Array, next_values: Array, continues: Array, last: Array, discount: Array | float, n: int
) -> Array:
    """G_t = R_{t+1} + ... + γ^{m-1} R_{t+m} + γ^m V(S_{t+m}), [T, B] (Sutton & Barto 2018, eq. 7.1).

    m is `n`, or the number of steps to the end of the episode or window where that comes first. Memory is
    n x [T, B]. Raises `OperantError` where n < 1.
    """
    if n < 1:
        raise OperantError(f"n-step returns look at least 1 step ahead, not {n}")
    xp = namespace(rewards, next_values, continues, last)
    length = rewards.shape[0]
    n = min(n, length)

    def ahead(x: Array) -> Array:
        """[T, B] -> [n, T, B]: row k holds x_{t+k}; past the end the last step repeats, cut off by `inside`."""
        padded = xp.concat([x] + [x[-1:]] * (n - 1), axis=0)
        return xp.stack([padded[k : k + length] for k in range(n)], axis=0)

    inside = _inside(last, rewards)
    inside = xp.concat([inside[:-1], xp.zeros_like(inside[-1:])], axis=0)
    decay = discount * continues
    bootstrap = rewards + decay * (1.0 - inside) * next_values
    return reverse_recurrence(ahead(decay * inside), ahead(bootstrap), ahead(next_values)[-1])[0]


def gae(
    rewards: Array,
    values: Array,
    next_values: Array,
    continues: Array,
    last: Array,
    discount: Array | float,
    trace: Array | float,
) -> Array:
    """Generalised advantage estimates A_t = δ_t + γλ A_{t+1}, λ = `trace`, [T, B] (Schulman et al. 2016, eq. 16).

    δ_t = R_{t+1} + γ V(S_{t+1}) - V(S_t). λ = 0 is the TD error; A_t + V(S_t) is the λ-return.
    """
    errors = rewards + discount * continues * next_values - values
    return reverse_recurrence(discount * trace * _inside(last, rewards), errors)


def vtrace(
    log_ratios: Array,
    rewards: Array,
    values: Array,
    next_values: Array,
    continues: Array,
    last: Array,
    discount: Array | float,
    clip_rho: Array | float = 1.0,
    clip_c: Array | float = 1.0,
) -> tuple[Array, Array]:
    """V-trace targets v_t and policy-gradient advantages, both [T, B] (Espeholt et al. 2018, eq. 1 and §4.2).

    `log_ratios` are log π(a|s) - log μ(a|s), the target policy's less the behaviour's. With
    ρ_t = min(`clip_rho`, ratio) and c_t = min(`clip_c`, ratio):
    v_t - V(S_t) = ρ_t δ_t + γ c_t (v_{t+1} - V(S_{t+1})); the advantage, ρ_t (R_{t+1} + γ v_{t+1} - V(S_t)),
    has its importance weight inside.
    """
    xp = namespace(log_ratios, rewards, values, next_values, continues, last)
    ratios = xp.exp(log_ratios)
    rho = xp.clip(ratios, max=clip_rho)
    decay = discount * continues
    onward = _inside(last, rewards)
    errors = rewards + decay * next_values - values
    corrections = reverse_recurrence(discount * xp.clip(ratios, max=clip_c) * onward, rho * errors)
    later = xp.concat([corrections[1:], xp.zeros_like(corrections[-1:])], axis=0)
    advantages = rho * (errors + discount * onward * later)
    return values + corrections, advantages


def _inside(last: Array, like: Array) -> Array:
    """1 where the next step belongs to the same episode, else 0, in the dtype of `like`."""
    xp = namespace(last, like)
    return xp.astype(xp.logical_not(last), like.dtype)
