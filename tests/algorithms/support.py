"""What the tests of several algorithms share."""

import dataclasses

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Recording:
    """Plain gradient descent that remembers each gradient it was given."""

    updates: int

    def transform(self):
        def init(parameters):
            return jnp.int32(0), jax.tree.map(lambda p: jnp.zeros((self.updates, *p.shape)), parameters)

        def update(gradient, state, parameters=None):
            count, seen = state
            return gradient, (count + 1, jax.tree.map(lambda all_, g: all_.at[count].set(g), seen, gradient))

        return optax.GradientTransformation(init, update)
