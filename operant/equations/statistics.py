"""Means that know which entries count, and how much of the targets a value function explains."""

from operant.equations._backend import Array, namespace


def masked_mean(x: Array, mask: Array) -> Array:
    """The mean of `x` where `mask` (bool, the shape of `x`) is true; 0 where nothing counts.

    Masked entries reach neither the mean nor the gradient, even where they are not finite.
    """
    xp = namespace(x, mask)
    count = xp.sum(xp.astype(mask, x.dtype))
    return xp.sum(xp.where(mask, x, 0.0)) / xp.clip(count, min=1.0)


def whiten(x: Array, mask: Array | None = None) -> Array:
    """(x - mean) / √(var + 1e-8) over all entries where `mask` is true; masked entries become 0.

    The variance is the population's. A constant `x` becomes 0, not its rounding error magnified.
    """
    xp = namespace(x)
    mask = xp.ones_like(x, dtype=xp.bool) if mask is None else mask
    centred = xp.where(mask, x - masked_mean(x, mask), 0.0)
    return centred / xp.sqrt(masked_mean(centred * centred, mask) + 1e-8)


def explained_variance(values: Array, targets: Array) -> Array:
    """1 - Var(targets - values) / Var(targets) over all entries: 1 perfect, 0 no better than a constant.

    Where the targets are all equal there is nothing to explain: 0.
    """
    xp = namespace(values, targets)
    total = xp.var(targets)
    return xp.where(total > 0, 1.0 - xp.var(targets - values) / xp.where(total > 0, total, 1.0), 0.0)
