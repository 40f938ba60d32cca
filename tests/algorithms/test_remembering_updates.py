"""Updates of policies with memory: the policy is stepped again through the window, from the memory that began it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from scipy.special import log_softmax

import operant
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.parts.networks import GRU

LENGTH, ENVS, FEATURES, SIZE = 5, 4, 3, 6
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,), np.float32), Discrete(3), ENVS, LENGTH)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0)))
REMEMBERING = {"network": GRU(SIZE, (4,))}
EVERY = {
    "a2c": operant.A2C(**REMEMBERING),
    "a3c": operant.A3C(**REMEMBERING, num_actors=1),
    "reinforce": operant.REINFORCE(**REMEMBERING),
    "trpo": operant.TRPO(**REMEMBERING, num_minibatches=1),
    "vpg": operant.VPG(**REMEMBERING, num_minibatches=1),
}
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


def problem(algorithm, terminated, truncated):
    """A state, a window with the policy's own log-probabilities, and those of all actions `[T, B, A]`."""
    rng = np.random.default_rng(1)
    state = jax.jit(lambda key: algorithm.init(key, SPEC))(jax.random.key(0))
    actor = lambda s: getattr(s.policy, "actor", s.policy)  # noqa: E731
    head = lambda s: actor(s).network.head.weight  # noqa: E731
    state = eqx.tree_at(head, state, jnp.float32(2 * rng.normal(size=(SIZE, 3))))
    observation, following = jnp.float32(rng.normal(size=(2, LENGTH, ENVS, FEATURES)))
    memory = jnp.float32(rng.normal(size=(ENVS, SIZE)))
    log_probs = log_softmax(stepped(actor(state).network, memory, observation, terminated | truncated), axis=-1)
    action, reward = rng.integers(0, 3, (LENGTH, ENVS)), jnp.float32(rng.normal(size=(LENGTH, ENVS)))
    log_prob = jnp.float32(np.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0])
    steps = Step(observation, action, reward, terminated, truncated, following, log_prob)
    valid = jnp.ones((LENGTH, ENVS), bool) if isinstance(algorithm, operant.REINFORCE) else None
    return state, Window(jax.tree.map(jnp.asarray, steps), memory, jnp.arange(ENVS), jnp.int32(0), valid), log_probs


def learned(algorithm, state, window):
    return jax.jit(lambda s, w: algorithm.learn(s, w, jax.random.key(1), CONTEXT))(state, window)[1]


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_is_of_the_policy_stepped_again_from_the_windows_memory(name):
    terminated, truncated = TERMINATED, TRUNCATED
    if name == "reinforce":  # its windows are whole episodes
        terminated, truncated = np.zeros((2, LENGTH, ENVS), bool)
        terminated[-1] = True
    state, window, log_probs = problem(EVERY[name], terminated, truncated)
    entropy = -(np.exp(log_probs) * log_probs).sum(axis=-1).mean()
    np.testing.assert_allclose(learned(EVERY[name], state, window)["entropy"], entropy, rtol=1e-5)


def test_v_traces_ratios_are_of_the_policy_stepped_again():
    # With the log-probabilities that acted every ratio is one, so that nothing is corrected.
    plain = EVERY["a3c"]
    state, window, _ = problem(plain, TERMINATED, TRUNCATED)
    corrected = learned(dataclasses.replace(plain, correction="vtrace"), state, window)
    for name, value in learned(plain, state, window).items():
        np.testing.assert_allclose(corrected[name], value, rtol=1e-4, err_msg=name)
