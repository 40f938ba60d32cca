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
