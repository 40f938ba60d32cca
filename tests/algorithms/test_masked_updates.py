"""Updates by the mask that acted: no loss, entropy or ratio knows an illegal action."""

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from scipy.special import log_softmax

from operant.contracts import Spec, Step
from operant.parts.networks import MLP
from tests.algorithms.support import (
    actor_of,
    assert_vtrace_corrects_nothing,
    begun,
    learned,
    policy_learners,
    window_for,
)

LENGTH, ENVS, FEATURES, ACTIONS = 4, 2, 3, 3
LEGAL, ILLEGAL = np.array([0, 2]), 1
MASK = np.isin(np.arange(ACTIONS), LEGAL).astype(np.int8)
SPACE = Dict({"seen": Box(-np.inf, np.inf, (FEATURES,), np.float32), "action_mask": Box(0, 1, (ACTIONS,), np.int8)})
SPEC = Spec(SPACE, Discrete(ACTIONS), ENVS, LENGTH)
EVERY = policy_learners(MLP(()))


def problem(algorithm):
    """A state with a linear policy far from uniform, a window of legal actions, and their log-probabilities."""
    rng = np.random.default_rng(0)
    head = 2 * rng.normal(size=(FEATURES, ACTIONS))
    mask = jnp.broadcast_to(MASK, (LENGTH, ENVS, ACTIONS))
    seen, following = (jnp.float32(x) for x in rng.normal(size=(2, LENGTH, ENVS, FEATURES)))
    log_probs = log_softmax(np.asarray(seen, np.float64) @ head[:, LEGAL], axis=-1)
    chosen = rng.integers(0, len(LEGAL), (LENGTH, ENVS))
    log_prob = np.take_along_axis(log_probs, chosen[..., None], axis=-1)[..., 0]
    observation, after = ({"seen": x, "action_mask": mask} for x in (seen, following))
    terminated = np.zeros((LENGTH, ENVS), bool)
    terminated[-1] = True
    reward = np.float32(rng.normal(size=(LENGTH, ENVS)))
    steps = Step(observation, LEGAL[chosen], reward, terminated, np.zeros_like(terminated), after, np.float32(log_prob))
    return begun(algorithm, SPEC, head), window_for(algorithm, steps), log_probs


@pytest.mark.parametrize("algorithm", EVERY.values(), ids=EVERY)
def test_no_update_knows_an_illegal_action(algorithm):
    state, window, log_probs = problem(algorithm)
    after, metrics = learned(algorithm, state, window, SPEC)
    before, new = (np.asarray(actor_of(each).network.head.weight) for each in (state, after))
    np.testing.assert_array_equal(new[:, ILLEGAL], before[:, ILLEGAL])
    assert (np.abs(new - before)[:, LEGAL].max(axis=0) > 1e-6).all()
    np.testing.assert_allclose(metrics["entropy"], -(np.exp(log_probs) * log_probs).sum(axis=-1).mean(), rtol=1e-5)


def test_v_traces_ratios_are_of_the_legal_actions():
    state, window, _ = problem(EVERY["a3c"])
    assert_vtrace_corrects_nothing(EVERY["a3c"], state, window, SPEC)
