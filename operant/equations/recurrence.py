"""The one recurrence behind every return: x_t = a_t x_{t+1} + b_t, backwards in time."""

from operant.equations._backend import Array, is_jax, namespace


def reverse_recurrence(a: Array, b: Array, end: Array | float = 0.0) -> Array:
    """Solve x_t = a_t x_{t+1} + b_t for t = T-1, ..., 0 with x_T = `end`.

    `a`, `b`: [T, ...], broadcast against each other; `end`: the shape of one step, or a number. Returns x
    [T, ...], differentiable in all three. JAX arrays are scanned; other libraries have no scan, so there the
    affine maps are composed by doubling, in ⌈log₂ T⌉ vectorised steps (products of `a` must not overflow).
    """
    xp = namespace(a, b)
    a, b = xp.broadcast_arrays(a, b)
    return _scan(a, b, end) if is_jax(a, b) else _double(a, b, end)


def _scan(a: Array, b: Array, end: Array | float) -> Array:
    import jax
    import jax.numpy as jnp

    dtype = jnp.result_type(a, b, end)  # the carry keeps one dtype and one shape throughout

    def step(later: Array, maps: tuple[Array, Array]) -> tuple[Array, Array]:
        x = maps[0] * later + maps[1]
        return x, x

    start = jnp.broadcast_to(jnp.asarray(end, dtype), b.shape[1:])
    return jax.lax.scan(step, start, (a.astype(dtype), b.astype(dtype)), reverse=True)[1]


def _double(a: Array, b: Array, end: Array | float) -> Array:
    xp = namespace(a, b)
    # After each round (a_t, b_t) is the composition of the maps t, ..., t + 2·shift - 1, or of all up to the end.
    b = xp.concat([b[:-1], b[-1:] + a[-1:] * end], axis=0)
    shift = 1
    while shift < b.shape[0]:
        b = xp.concat([b[:-shift] + a[:-shift] * b[shift:], b[-shift:]], axis=0)
        a = xp.concat([a[:-shift] * a[shift:], a[-shift:]], axis=0)
        shift *= 2
    return b
