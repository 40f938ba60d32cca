"""Updates of policies with memory: the policy is stepped again through the window, from the memory that began it."""

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from scipy.special import log_softmax

from operant.contracts import Spec, Step
from operant.parts.networks import GRU
from tests.algorithms.support import (
    actor_of,
    assert_vtrace_corrects_nothing,
    begun,
    learned,
    policy_learners,
    window_for,
)

LENGTH, ENVS, FEATURES, ACTIONS, SIZE = 5, 4, 3, 3, 6
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Discrete(ACTIONS), ENVS, LENGTH)
EVERY = policy_learners(GRU(SIZE, (4,)))
TERMINATED, TRUNCATED = np.zeros((2, LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = True  # the last two columns go on


def stepped(network, memory, observation, last):
    """The policy's logits `[T, B, A]`, one step after another; memory starts anew after either end."""
    logits = []
    for t in range(LENGTH):
        memory, output = network(memory, observation[t])
        logits.append(np.asarray(output, np.float64))
        memory = jnp.where(jnp.asarray(last[t])[:, None], 0.0, memory)
    return np.array(logits)


def problem(algorithm):
    """A state, a window with the policy's own log-probabilities, and those of all actions `[T, B, A]`."""
    rng = np.random.default_rng(1)
    state = begun(algorithm, SPEC, 2 * rng.normal(size=(SIZE, ACTIONS)))
    observation, following = np.float32(rng.normal(size=(2, LENGTH, ENVS, FEATURES)))
    memory = jnp.float32(rng.normal(size=(ENVS, SIZE)))
    log_probs = log_softmax(stepped(actor_of(state).network, memory, observation, TERMINATED | TRUNCATED), axis=-1)
    action, reward = rng.integers(0, ACTIONS, (LENGTH, ENVS)), np.float32(rng.normal(size=(LENGTH, ENVS)))
    log_prob = np.float32(np.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0])
    steps = Step(observation, action, reward, TERMINATED, TRUNCATED, following, log_prob)
    return state, window_for(algorithm, steps, memory), log_probs


@pytest.mark.parametrize("algorithm", EVERY.values(), ids=EVERY)
def test_the_entropy_is_of_the_policy_stepped_again_from_the_windows_memory(algorithm):
    state, window, log_probs = problem(algorithm)
    entropy = -(np.exp(log_probs) * log_probs).sum(axis=-1).mean()
    _, metrics = learned(algorithm, state, window, SPEC)
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-5)


def test_v_traces_ratios_are_of_the_policy_stepped_again():
    state, window, _ = problem(EVERY["a3c"])
    assert_vtrace_corrects_nothing(EVERY["a3c"], state, window, SPEC)
