"""Estimators of the policy gradient against the exact one, on a finite MDP that can be solved.

Every algorithm runs in its driver on the compiled MDP, with a learning rate of zero and an optimiser that remembers the
gradients. The exact gradient is that of the return from the start, through the solution of (I - P) v = r, in float64.
Learners of running windows see the states in the shares in which episodes visit them: theirs is the same gradient,
divided by the episodes' mean length (Sutton et al. 2000, theorem 1, with a discount of 1).
"""

import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.stats import chi2

from operant.algorithms.policy.a2c import A2C
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.policy.vpg import VPG
from operant.core.drivers.compiled import CompiledDriver
from operant.environments import Compiled
from operant.environments.finite import Finite
from operant.finite import MDP
from operant.parts.networks import MLP
from tests.algorithms.support import Recording

STATES, ENVS, LENGTH, LIMIT, BURNED, WINDOWS, BLOCK = 3, 4, 8, 30, 10, 1500, 10
rng = np.random.default_rng(16)
TRANSITIONS = rng.dirichlet(np.ones(STATES + 1), size=(STATES + 1, 2))
REWARDS = 1.0 + rng.normal(size=(STATES + 1, 2))
START = np.array([0.7, 0.3, 0.0, 0.0])
PREFERENCES = rng.normal(size=(STATES + 1, 2))
WORLD = MDP.from_arrays(TRANSITIONS, REWARDS, terminal=[STATES], start=START, horizon=LIMIT)
WHOLE = REINFORCE(
    learning_rate=0.0, discount=1.0, entropy_coefficient=0.0, network=MLP(()), optimiser=Recording(WINDOWS)
)
RUNNING = A2C(
    learning_rate=0.0, discount=1.0, entropy_coefficient=0.0, max_gradient_norm=None, num_steps=LENGTH,
    normalise=(), network=MLP(()), optimiser=Recording(WINDOWS),
)  # fmt: skip
SEPARATE = VPG(
    learning_rate=0.0, critic_learning_rate=0.0, discount=1.0, num_steps=LENGTH, num_epochs=1, num_minibatches=1,
    normalise=(), network=MLP(()), optimiser=Recording(WINDOWS),
)  # fmt: skip


def solved(preferences):
    """Values of the states `[S]` and mean lengths of what is left of an episode, of the softmax policy."""
    probs = jax.nn.softmax(preferences[:STATES])
    onward = jnp.einsum("sa,sap->sp", probs, TRANSITIONS[:STATES, :, :STATES])
    rewards = jnp.sum(probs * REWARDS[:STATES], axis=1)
    return jnp.linalg.solve(jnp.eye(STATES) - onward, jnp.stack([rewards, jnp.ones(STATES)], axis=1)).T


@pytest.fixture(scope="module")
def exact():
    """The gradient in the preferences for action 1 (action 0's is its negative), the values and the mean length."""
    with jax.enable_x64(True):
        gradient = jax.grad(lambda preferences: jnp.dot(START[:STATES], solved(preferences)[0]))(PREFERENCES)
        values, lengths = map(np.asarray, solved(jnp.asarray(PREFERENCES)))
        return np.asarray(gradient)[:STATES, 1], values, float(START[:STATES] @ lengths)


def recorded(members, head, critics=None):
    """The gradients in the preferences for action 1 that members of one structure see, `[members, windows, S]`.

    `head` finds the actor's in a state; `critics` are the values that the members' critics hold, `[members, S]`.
    """
    driver = CompiledDriver(members, Compiled(Finite(WORLD)), ENVS)
    carry, many = driver.start(0), len(members)
    preferences = jnp.asarray(np.tile(PREFERENCES, (many, 1, 1)), jnp.float32)
    state = eqx.tree_at(lambda s: head(s).weight, carry.state, preferences)
    if critics is not None:
        values = jnp.asarray(np.append(critics, np.zeros((many, 1)), axis=1)[..., None], jnp.float32)
        state = eqx.tree_at(lambda s: s.critic.head.weight, state, values)
    state = driver.advance(carry._replace(state=state), 0, WINDOWS, WINDOWS).state
    _, seen = state.optimiser[0] if isinstance(members[0], VPG) else state.optimiser
    if isinstance(members[0], A2C):
        one = jax.tree.map(lambda leaf: leaf[0], (state.policy.actor, state.critic))
        seen, _ = jax.vmap(jax.vmap(ravel_pytree(one)[1]))(seen)
    return -np.asarray(seen.network.head.weight[..., :STATES, 1], np.float64)


@pytest.fixture(scope="module")
def estimates(exact):
    """Ascent directions `[windows, S]` of the return, by name; those of running windows times the mean length."""
    _, values, length = exact
    whole = {
        name: recorded([dataclasses.replace(WHOLE, baseline=baseline)], lambda s: s.policy.network.head)[0]
        for name, baseline in (("plain", False), ("baseline", True))
    }
    members = [dataclasses.replace(RUNNING, gae_lambda=trace) for trace in (1.0, 0.9, 0.0, 0.0)]
    critics = np.array([values, values, values, 0.0 * values])
    head = lambda s: s.policy.actor.network.head  # noqa: E731
    running = dict(zip(("1", "0.9", "0", "no critic"), recorded(members, head, critics), strict=True))
    running["vpg"] = recorded([SEPARATE], head, critics[:1])[0]
    return whole | {name: length * samples[BURNED:] for name, samples in running.items()}


def scores(samples, truth):
    """z of each component, and the chi-square statistic of all of them together.

    Blocks of windows count as one sample: neighbouring windows share an episode.
    """
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK, STATES).mean(axis=1)
    error, covariance = blocks.mean(axis=0) - truth, np.cov(blocks.T) / len(blocks)
    return error / np.sqrt(np.diag(covariance)), error @ np.linalg.solve(covariance, error)


@pytest.mark.parametrize(
    ("name", "teeth"), [("plain", 1.3), ("baseline", 1.3), ("1", 1.2), ("0.9", 1.2), ("0", 1.2), ("vpg", 1.2)]
)
def test_the_mean_is_the_exact_gradient(estimates, exact, name, teeth):
    z, together = scores(estimates[name], exact[0])
    assert np.abs(z).max() < 4 and together < chi2.ppf(0.9999, STATES)
    # A gradient so many times as long would show.
    z, together = scores(teeth * estimates[name], exact[0])
    assert np.abs(z).max() > 4 and together > chi2.ppf(0.9999, STATES)


def test_bootstrapping_from_wrong_values_is_biased(estimates, exact):
    z, together = scores(estimates["no critic"], exact[0])
    assert np.abs(z).max() > 10 and together > 10 * chi2.ppf(0.9999, STATES)


def test_the_variance_falls_with_each_cure(estimates, exact):
    # Of a gradient from as many steps: windows of whole episodes hold ENVS mean lengths, running ones LENGTH x ENVS.
    steps = {name: (exact[2] if name in ("plain", "baseline") else LENGTH) * ENVS for name in estimates}
    spread = {name: steps[name] * estimates[name].var(axis=0).sum() for name in estimates}
    order = [spread[name] for name in ("plain", "baseline", "1", "0.9", "0")]
    assert all(later < 0.95 * earlier for earlier, later in itertools.pairwise(order)), order
    assert spread["0.9"] < spread["vpg"] < spread["1"]  # VPG's trace is 0.97
