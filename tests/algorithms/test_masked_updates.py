"""Updates by the mask that acted: what was illegal is never pushed, and the losses are those of the legal actions."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from scipy.special import log_softmax

import operant
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.parts.networks import MLP

LENGTH, ENVS, FEATURES, LEGAL = 4, 2, 3, [0, 2]
SPACE = Dict({"seen": Box(-np.inf, np.inf, (FEATURES,), np.float32), "action_mask": Box(0, 1, (3,), np.int8)})
SPEC = Spec(SPACE, Discrete(3), ENVS, LENGTH)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0)))
LINEAR = {"network": MLP(())}
VTRACE = operant.A3C(**LINEAR, correction="vtrace", num_actors=1)
EVERY = {
    "a2c": operant.A2C(**LINEAR),
    "a3c": VTRACE,
    "ppo": operant.PPO(**LINEAR, num_minibatches=1),
    "reinforce": operant.REINFORCE(**LINEAR),
    "trpo": operant.TRPO(**LINEAR, num_minibatches=1),
    "vpg": operant.VPG(**LINEAR, num_minibatches=1),
}


def weight(state):
    return getattr(state.policy, "actor", state.policy).network.head.weight


def problem(algorithm):
    """A state with a linear policy far from uniform, and a window in which it took legal actions alone."""
    rng = np.random.default_rng(0)
    state = jax.jit(lambda key: algorithm.init(key, SPEC))(jax.random.key(0))
    state = eqx.tree_at(weight, state, jnp.float32(2 * rng.normal(size=(FEATURES, 3))))
    mask = jnp.broadcast_to(jnp.array([1, 0, 1], jnp.int8), (LENGTH, ENVS, 3))
    seen, following = ({"seen": jnp.float32(x), "action_mask": mask} for x in rng.normal(size=(2, LENGTH, ENVS, 3)))
    chosen = rng.integers(0, 2, (LENGTH, ENVS))
    logits = np.asarray(seen["seen"], np.float64) @ np.asarray(weight(state), np.float64)[:, LEGAL]
    log_prob = np.take_along_axis(log_softmax(logits, axis=-1), chosen[..., None], axis=-1)[..., 0]
    end = jnp.zeros((LENGTH, ENVS), bool).at[-1].set(True)
    reward = jnp.float32(rng.normal(size=(LENGTH, ENVS)))
    steps = Step(seen, jnp.int32(2 * chosen), reward, end, jnp.zeros_like(end), following, jnp.float32(log_prob))
    valid = jnp.ones((LENGTH, ENVS), bool) if isinstance(algorithm, operant.REINFORCE) else None
    return state, Window(steps, (), jnp.arange(ENVS), jnp.int32(0), valid)


@pytest.mark.parametrize("algorithm", EVERY.values(), ids=EVERY)
def test_the_logit_of_an_illegal_action_is_never_pushed(algorithm):
    state, window = problem(algorithm)
    after, _ = jax.jit(lambda s, w: algorithm.learn(s, w, jax.random.key(1), CONTEXT))(state, window)
    before, new = np.asarray(weight(state)), np.asarray(weight(after))
    np.testing.assert_array_equal(new[:, 1], before[:, 1])
    assert (np.abs(new - before)[:, LEGAL].max(axis=0) > 1e-6).all()


def test_v_traces_ratios_are_of_the_legal_actions():
    # With the log-probabilities that acted every ratio is one, so that nothing is corrected.
    state, window = problem(VTRACE)
    corrected, plain = (
        jax.jit(lambda s, w, a=algorithm: a.gradient(s, w, jax.random.key(1), CONTEXT)[1])(state, window)
        for algorithm in (VTRACE, dataclasses.replace(VTRACE, correction="none"))
    )
    for one, other in zip(jax.tree.leaves(corrected), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
