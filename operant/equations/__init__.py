"""The mathematics, written once: elementwise, per-step functions on arrays of NumPy, JAX or torch.

No parameters, no random numbers, and no reduction that is an algorithm's choice. Time is axis 0. Importing
this package imports no array library.
"""

from operant.equations.distributional import categorical_projection, quantile_huber
from operant.equations.policy import (
    categorical_kl,
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    kl_k1,
    kl_k2,
    kl_k3,
    normal_kl,
    policy_gradient,
    surrogate,
)
from operant.equations.returns import discounted_returns, gae, lambda_returns, n_step_returns, vtrace
from operant.equations.statistics import explained_variance, masked_mean, whiten
from operant.equations.td import (
    double_value,
    expected_value,
    huber,
    squared,
    squash,
    td_error,
    td_target,
    unsquash,
)

__all__ = [
    "categorical_kl",
    "categorical_projection",
    "clipped_surrogate",
    "clipped_value_loss",
    "discounted_returns",
    "double_value",
    "entropy",
    "expected_value",
    "explained_variance",
    "gae",
    "huber",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "lambda_returns",
    "masked_mean",
    "n_step_returns",
    "normal_kl",
    "policy_gradient",
    "quantile_huber",
    "squared",
    "squash",
    "surrogate",
    "td_error",
    "td_target",
    "unsquash",
    "vtrace",
    "whiten",
]
