"""What the array-API standard lacks, for NumPy, JAX and torch. Nothing here imports JAX before a JAX array is met."""

from typing import Any, TypeAlias

from array_api_compat import array_namespace, is_jax_array, is_torch_array

Array: TypeAlias = Any  # an array of any array-API library; all arrays of one call come from the same one


def namespace(*arrays: Array | float) -> Any:
    """The array-API namespace that `arrays` share; Python numbers go with any.

    Raises `TypeError` where there is no array among them, or arrays of two libraries.
    """
    return array_namespace(*arrays)


def is_jax(*arrays: Array | float) -> bool:
    """Whether any of `arrays` belongs to JAX (concrete or traced)."""
    return any(is_jax_array(array) for array in arrays)


def stop_gradient(array: Array | float) -> Array:
    """`array`, held constant by differentiation; NumPy arrays and Python numbers are constant already."""
    if is_jax(array):
        import jax

        return jax.lax.stop_gradient(array)
    return array.detach() if is_torch_array(array) else array
