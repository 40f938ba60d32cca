"""Policy losses, entropies and divergences, per step.

Losses are to be *minimised*: each is the negative of the objective in its paper. Advantages, targets and the
values of the old policy are held constant. Ratios are always the new policy against the old, in logarithms:
`log_ratios` = log π_new(a|s) - log π_old(a|s).
"""

from operant.equations._backend import Array, namespace, stop_gradient
from operant.equations.td import squared


def policy_gradient(log_probs: Array, advantages: Array) -> Array:
    """-log π(a|s) · A: its gradient is the (negative) policy gradient (Williams 1992; Sutton & Barto 2018, §13.3)."""
    return -log_probs * stop_gradient(advantages)


def surrogate(log_ratios: Array, advantages: Array) -> Array:
    """-π_new/π_old · A, TRPO's importance-sampled loss (Schulman et al. 2015, eq. 14)."""
    return -namespace(log_ratios).exp(log_ratios) * stop_gradient(advantages)


def clipped_surrogate(log_ratios: Array, advantages: Array, clip: Array | float) -> Array:
    """-min(r A, clip(r, 1-ε, 1+ε) A), PPO's loss, ε = `clip` (Schulman et al. 2017, eq. 7)."""
    xp = namespace(log_ratios, advantages)
    clipped = xp.clip(xp.exp(log_ratios), 1.0 - clip, 1.0 + clip)
    return xp.maximum(surrogate(log_ratios, advantages), -clipped * stop_gradient(advantages))


def clipped_value_loss(values: Array, old_values: Array, targets: Array, clip: Array | float) -> Array:
    """½ max((V - G)², (V_old + clip(V - V_old, ±ε) - G)²): no gain from moving V further than ε = `clip`.

    Not in the PPO paper but in its authors' code (Engstrom et al. 2020, §3).
    """
    xp = namespace(values, old_values, targets)
    old, targets = stop_gradient(old_values), stop_gradient(targets)
    near = old + xp.clip(values - old, -clip, clip)
    return xp.maximum(squared(values - targets), squared(near - targets))


def entropy(log_probs: Array) -> Array:
    """-Σ p log p in nats over the last axis, [..., A] -> [...]; log-probability -inf is an impossible action."""
    xp = namespace(log_probs)
    return -xp.sum(xp.exp(log_probs) * xp.where(log_probs > -float("inf"), log_probs, 0.0), axis=-1)


def kl_k1(log_ratios: Array) -> Array:
    """-log r: estimates KL(π_old‖π_new) for actions drawn from π_old. Unbiased, often negative (Schulman 2020)."""
    return -log_ratios


def kl_k2(log_ratios: Array) -> Array:
    """½ (log r)²: estimates KL(π_old‖π_new) for actions drawn from π_old. Biased, low variance (Schulman 2020)."""
    return squared(log_ratios)


def kl_k3(log_ratios: Array) -> Array:
    """r - 1 - log r: estimates KL(π_old‖π_new) for actions drawn from π_old. Unbiased, never negative (Schulman 2020).

    For a KL to a reference policy under samples of the current one, the current policy is `old` and the
    reference is `new`.
    """
    return namespace(log_ratios).expm1(log_ratios) - log_ratios  # exp(x) - 1 - x would lose all digits near x = 0


def categorical_kl(log_probs: Array, other_log_probs: Array) -> Array:
    """KL(p‖q) = Σ p (log p - log q) in nats over the last axis, [..., A] -> [...]; p = 0 contributes nothing."""
    xp = namespace(log_probs, other_log_probs)
    probs = xp.exp(log_probs)
    log_p, log_q = (xp.where(probs > 0, log, 0.0) for log in (log_probs, other_log_probs))  # no inf - inf
    return xp.sum(probs * (log_p - log_q), axis=-1)


def normal_kl(mean: Array, log_std: Array, other_mean: Array, other_log_std: Array) -> Array:
    """KL(p‖q) in nats between normals, elementwise: independent dimensions are summed by the caller.

    log σ_q/σ_p + (σ_p² + (μ_p - μ_q)²) / 2σ_q² - ½, arranged so that it cancels far less where p is close to q.
    """
    xp = namespace(mean, log_std, other_mean, other_log_std)
    log_ratio = log_std - other_log_std
    shift = (mean - other_mean) * xp.exp(-other_log_std)
    return 0.5 * (xp.expm1(2.0 * log_ratio) - 2.0 * log_ratio + shift * shift)
