"""CartPole with its velocities hidden: the same world, half of it seen."""

import jax
import jax.numpy as jnp
import numpy as np

from operant.environments import make
from operant.parts.encoders import encode

KEY = jax.random.key(0)


def test_it_is_cartpole_seen_in_part():
    hidden, whole = make("CartPolePositions-v1"), make("CartPole-v1")
    assert hidden.pooled and hidden.observation_space.shape == (2,) and hidden.time_limit == whole.time_limit == 500

    def run(world):
        worlds, first = world.reset(KEY, 16)

        def step(worlds, t):
            key = jax.random.fold_in(KEY, t)
            worlds, seen = world.step(key, worlds, jax.random.randint(key, (16,), 0, 2))
            return worlds, seen

        return first, jax.lax.scan(step, worlds, jnp.arange(60))[1]

    (first, ours), (all_of_it, theirs) = (jax.jit(run, static_argnums=0)(world) for world in (hidden, whole))
    np.testing.assert_array_equal(first, all_of_it[:, ::2])
    np.testing.assert_array_equal(ours.observation, theirs.observation[..., ::2])
    np.testing.assert_array_equal(ours.next_observation, theirs.next_observation[..., ::2])
    np.testing.assert_array_equal(ours.reward, theirs.reward)
    np.testing.assert_array_equal(ours.terminated, theirs.terminated)
    assert theirs.terminated.any()
    # The bounds scale it as they scale the whole.
    scaled = encode(whole.observation_space, theirs.observation)[..., ::2]
    np.testing.assert_allclose(encode(hidden.observation_space, ours.observation), scaled, rtol=1e-6)
