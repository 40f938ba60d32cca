"""Returns as distributions: projection onto fixed atoms, and the loss of quantiles."""

from operant.equations._backend import Array, namespace


def categorical_projection(probabilities: Array, atoms: Array, support: Array) -> Array:
    """A distribution on `atoms` moved to an evenly spaced `support`, both [..., N] -> [..., M] (Bellemare et al. 2017).

    An atom between two points of the support is shared among them in proportion to its nearness (eq. 7), one beyond an
    end goes to the end. An atom that falls on a point goes there whole: every point takes what a triangle around it
    covers, so that no case of equal indices can lose mass. `support` is [M].
    """
    xp = namespace(probabilities, atoms, support)
    low, high, count = support[0], support[-1], support.shape[0]
    clipped = xp.clip(atoms, low, high)
    places = (clipped - low) / ((high - low) / (count - 1))
    points = xp.reshape(xp.astype(xp.arange(count), places.dtype), (1,) * places.ndim + (count,))
    nearness = xp.clip(1.0 - xp.abs(places[..., None] - points), 0.0, 1.0)
    return xp.sum(nearness * probabilities[..., None], axis=-2)


def quantile_huber(errors: Array, fractions: Array, delta: Array | float) -> Array:
    """|τ - 1{e < 0}| L_δ(e) / δ, elementwise, with Huber's L (Dabney et al. 2018, eq. 10).

    The division, which the paper on implicit quantiles has and the first one has not, changes nothing at δ = 1.
    `errors` are target less estimate, `fractions` the τ of the estimates. With δ = 0 it is the loss of quantile
    regression, whose minimum is the τ-quantile of the targets itself.
    """
    xp = namespace(errors, fractions)
    size = xp.abs(errors)
    inside = size <= delta
    # A δ of zero has nothing inside but errors of zero.
    ones = xp.ones_like(size)
    divisor = xp.where(inside & (size > 0), delta * ones, ones)
    loss = xp.where(inside, 0.5 * size * size / divisor, size - 0.5 * delta)
    below = xp.astype(errors < 0, size.dtype)
    return xp.abs(fractions - below) * loss
