"""Distributions over actions: pytrees whose parameters carry the batch axes `[...]`.

Every method works on whole batches; log-probabilities, entropies and divergences are summed over the action's
dimensions and have shape `[...]`. Sampling consumes its key. Continuous samples are reparameterised
(Kingma and Welling 2014): gradients flow from the sample into the parameters.

A masked action is one whose logit is -inf or the dtype's lowest number. It has probability zero and is never
sampled, entropies and gradients stay finite (0 log 0 = 0), and its log-probability is about the lowest number
instead of -inf. Where every action is masked, all are taken as equally likely.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


def _log_softmax(logits: Array) -> Array:
    # -inf would give -inf - -inf in differences and 0 * -inf in gradients; the lowest number gives 0 in both.
    return jax.nn.log_softmax(jnp.maximum(logits, jnp.finfo(logits.dtype).min))


def _total(terms: list[Array]) -> Array:
    return functools.reduce(jnp.add, terms)


class Categorical(NamedTuple):
    """One of A actions with probabilities softmax(logits); actions are int32 `[...]`."""

    logits: Array  # [..., A]

    @property
    def probs(self) -> Array:
        """Probabilities `[..., A]`."""
        return jnp.exp(_log_softmax(self.logits))

    def sample(self, key: Array) -> Array:
        logits = jnp.maximum(self.logits, jnp.finfo(self.logits.dtype).min)
        return jax.random.categorical(key, logits).astype(jnp.int32)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, action: Array) -> Array:
        # Over a handful of actions a masked sum differentiates faster than a gather; the two cross below twenty.
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=bool)
        return jnp.sum(jnp.where(chosen, _log_softmax(self.logits), 0), axis=-1)

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        log_probs = _log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def kl(self, other: "Categorical") -> Array:
        """KL(self || other); where only `other` masks an action it is huge rather than infinite."""
        log_probs = _log_softmax(self.logits)
        return jnp.sum(jnp.exp(log_probs) * (log_probs - _log_softmax(other.logits)), axis=-1)


class MultiCategorical(NamedTuple):
    """K independent categorical choices; actions are int32 `[..., K]`."""

    logits: tuple[Array, ...]  # K of [..., A_i]

    @property
    def choices(self) -> tuple[Categorical, ...]:
        return tuple(Categorical(logits) for logits in self.logits)

    def sample(self, key: Array) -> Array:
        keys = jax.random.split(key, len(self.logits))
        return jnp.stack([choice.sample(k) for choice, k in zip(self.choices, keys, strict=True)], axis=-1)

    def mode(self) -> Array:
        return jnp.stack([choice.mode() for choice in self.choices], axis=-1)

    def log_prob(self, action: Array) -> Array:
        return _total([choice.log_prob(action[..., i]) for i, choice in enumerate(self.choices)])

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        return _total([choice.entropy() for choice in self.choices])

    def kl(self, other: "MultiCategorical") -> Array:
        """KL(self || other)."""
        return _total([mine.kl(theirs) for mine, theirs in zip(self.choices, other.choices, strict=True)])


class Normal(NamedTuple):
    """Independent normal distributions, one for each of D action dimensions; actions are `[..., D]`."""

    mean: Array  # [..., D]
    log_std: Array  # [..., D], or [D] for one that does not depend on the state

    @property
    def _log_std(self) -> Array:
        return jnp.broadcast_to(self.log_std, self.mean.shape)

    def sample(self, key: Array) -> Array:
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self._log_std) * noise

    def mode(self) -> Array:
        return self.mean

    def log_prob(self, action: Array) -> Array:
        z = (action - self.mean) * jnp.exp(-self._log_std)
        return jnp.sum(-0.5 * z**2 - self._log_std - 0.5 * math.log(2 * math.pi), axis=-1)

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        return jnp.sum(self._log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def kl(self, other: "Normal") -> Array:
        """KL(self || other)."""
        ratio = 2 * (self._log_std - other._log_std)  # log of the ratio of variances
        z = (self.mean - other.mean) * jnp.exp(-other._log_std)
        return 0.5 * jnp.sum(jnp.expm1(ratio) - ratio + z**2, axis=-1)


class TanhNormal(NamedTuple):
    """tanh of a `Normal`, on (-1, 1)^D (Haarnoja et al. 2018, *Soft Actor-Critic*, appendix C).

    It has no entropy method, for there is no closed form: average -log_prob of samples.
    """

    mean: Array  # [..., D], before tanh
    log_std: Array  # [..., D] or [D], before tanh

    @property
    def base(self) -> Normal:
        """The distribution before tanh."""
        return Normal(self.mean, self.log_std)

    def sample(self, key: Array) -> Array:
        return jnp.tanh(self.base.sample(key))

    def mode(self) -> Array:
        """tanh(mean): the median in each dimension, which is what is meant by its deterministic action."""
        return jnp.tanh(self.mean)

    def log_prob(self, action: Array) -> Array:
        """Log-density of a stored action.

        In floats tanh rounds to exactly 1 from about 9 on, where atanh is infinite; the action is clipped to
        the number next to 1 first. Near the border an action no longer determines its pre-tanh value well:
        where the sample is at hand, `sample_and_log_prob` is exact.
        """
        border = 1 - float(jnp.finfo(self.mean.dtype).epsneg)
        return self._log_prob(jnp.arctanh(jnp.clip(action, -border, border)))

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        before = self.base.sample(key)
        return jnp.tanh(before), self._log_prob(before)

    def _log_prob(self, before: Array) -> Array:
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), which does not cancel for large |u|.
        log_slope = 2 * (math.log(2) - before - jax.nn.softplus(-2 * before))
        return self.base.log_prob(before) - jnp.sum(log_slope, axis=-1)

    def kl(self, other: "TanhNormal") -> Array:
        """KL(self || other): the same as before tanh, which is one-to-one."""
        return self.base.kl(other.base)
