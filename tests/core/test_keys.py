"""Keys by role: several seeds are each what one is."""

import jax
import numpy as np
import pytest

from operant.core import keys


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 2, 2**32 - 1])
def test_each_of_several_roots_is_the_root_of_its_seed(seed):
    together = keys.roots(seed, 3)
    assert together.shape == (3,)
    for k in range(3):
        one = keys.root(seed + k)
        assert together[k].dtype == one.dtype
        np.testing.assert_array_equal(jax.random.key_data(together[k]), jax.random.key_data(one))


def test_roles_times_and_actors_have_keys_of_their_own():
    root = keys.root(3)
    roles = [keys.role(root, number, time) for number in range(keys.ACTOR) for time in range(4)]
    actors = [keys.actor(root, number) for number in range(4)]
    np.testing.assert_array_equal(jax.random.key_data(actors[0]), jax.random.key_data(root))
    found = {np.asarray(jax.random.key_data(key)).tobytes() for key in roles + actors}
    assert len(found) == len(roles) + len(actors)
