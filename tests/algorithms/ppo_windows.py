"""Windows for PPO's tests, what PPO makes of them, and its whole loss by hand, in float64."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete
from jax.flatten_util import ravel_pytree
from scipy.special import log_softmax

from operant.algorithms.policy.ppo import PPO
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.parts.networks import MLP
from operant.parts.optimisers import Adam
from operant.parts.schedules import Linear
from tests.algorithms.support import Recording, references

ACTIONS, LENGTH, ENVS = 3, 4, 4
SIZE, EPOCHS, MINIBATCHES = LENGTH * ENVS, 3, 2
UPDATES = EPOCHS * MINIBATCHES
TERMINATED = np.zeros((LENGTH, ENVS), bool)
TRUNCATED = np.zeros((LENGTH, ENVS), bool)
TERMINATED[1, 0] = TRUNCATED[2, 1] = TERMINATED[3, 2] = True  # the last column ends nowhere
TERMINATED[1, 2] = TRUNCATED[1, 2] = True  # both at once, as time limits may report it: terminal
LAST = TERMINATED | TRUNCATED


def recorded(state):
    """The gradients that a `Recording` saw, `[updates, ...]`, in the shapes of `(actor, critic)`."""
    _, unravel = ravel_pytree((state.policy.actor, state.critic))
    return jax.vmap(unravel)(state.optimiser[1])


def spec_of(features, space=None, num_envs=ENVS):
    space = Discrete(ACTIONS) if space is None else space
    return Spec(Box(-np.inf, np.inf, (features,), np.float32), space, num_envs)


SPEC = spec_of(SIZE + ENVS * LENGTH)
STILL = PPO(
    learning_rate=Linear(0.0, 0.0), discount=0.9, gae_lambda=0.8, clip=Linear(0.2, 0.2), num_steps=LENGTH,
    entropy_coefficient=Linear(0.0, 0.0), max_gradient_norm=1e9, target_kl=1e9, num_epochs=EPOCHS,
    num_minibatches=MINIBATCHES, normalise=(), network=MLP(()), optimiser=Recording(UPDATES),
)  # fmt: skip


@functools.partial(jax.jit, static_argnames="spec")
def init(algorithm, seed, spec):
    return algorithm.init(jax.random.key(seed), spec)


@functools.partial(jax.jit, static_argnames="spec")
def learn(algorithm, state, window, key, progress, spec):
    return algorithm.learn(state, window, key, Context(spec, Clock(jnp.int32(0), progress)))


def learned(algorithm, state, window, progress=0.0, seed=0, spec=SPEC):
    return learn(algorithm, state, window, jax.random.key(seed), np.float32(progress), spec)


def loud(state):
    """The state with the policy's head scaled up, so that its probabilities are far from equal."""
    weight = lambda s: s.policy.actor.network.head.weight  # noqa: E731
    return eqx.tree_at(weight, state, 100.0 * weight(state))


@functools.partial(jax.jit, static_argnames="spec")
def acted(algorithm, policy, memory, observation, last, spec):
    """Act along observations `[T, B, F]`: `(memory, (actions, extras))`."""
    context = Context(spec, Clock(jnp.int32(0), jnp.float32(0)))

    def step(memory, inputs):
        t, seen, ended = inputs
        key = jax.random.fold_in(jax.random.key(5), t)
        memory, action, extras = algorithm.act(policy, memory, seen, key, context, explore=True)
        fresh = algorithm.start(policy, key, spec)
        keep = lambda new, old: jnp.where(ended[:, None], new, old)  # noqa: E731
        return jax.tree.map(keep, fresh, memory), (action, extras)

    return jax.lax.scan(step, memory, (jnp.arange(len(observation)), observation, last))


def window_of(algorithm, state, observation, following, spec=SPEC, memory=(), seed=3):
    """The window that a policy makes of given observations, with random rewards; and the memory after it."""
    after, (action, extras) = acted(algorithm, state.policy, memory, jnp.float32(observation), jnp.asarray(LAST), spec)
    reward = np.random.default_rng(seed).normal(size=(LENGTH, ENVS)).astype(np.float32)
    steps = Step(jnp.float32(observation), action, reward, TERMINATED, TRUNCATED, jnp.float32(following), extras)
    return Window(jax.tree.map(jnp.asarray, steps), memory, jnp.arange(ENVS), jnp.int32(0)), after


# A network with a hidden layer, and its gradient derived by hand.

HIDDEN, FEATURES, PROGRESS = 4, 3, 0.25
WHOLE = PPO(
    learning_rate=Linear(0.02, 0.0), discount=0.9, gae_lambda=0.8, clip=Linear(0.3, 0.1), num_steps=LENGTH,
    entropy_coefficient=Linear(0.2, 0.0), value_coefficient=0.7, max_gradient_norm=1e9, num_epochs=1, num_minibatches=1,
    normalise=(), network=MLP((HIDDEN,), "tanh"), optimiser=Adam(eps=1e-5),
)  # fmt: skip
SMALL = spec_of(FEATURES)


@functools.cache
def disturbed():
    """A state and a window whose stored log-probabilities are off, so that ratios lie on both sides of the clip."""
    rng = np.random.default_rng(4)
    state = loud(init(WHOLE, 1, SMALL))
    observation, following = rng.normal(size=(2, LENGTH, ENVS, FEATURES))
    following[:-1] = np.where(LAST[:-1, :, None], following[:-1], observation[1:])
    window = window_of(WHOLE, state, observation, following, SMALL)[0]
    off = jnp.float32(rng.normal(size=(LENGTH, ENVS)) * 0.4)
    return state, window._replace(steps=window.steps._replace(extras=window.steps.extras + off))


def forward(network, features):
    (layer,), head = network.parameters.layers, network.head
    w, b, u, c = (np.asarray(p, np.float64) for p in (layer.weight, layer.bias, head.weight, head.bias))
    hidden = np.tanh(features @ w + b)
    return hidden, u, hidden @ u + c


def backward(features, hidden, u, upstream):
    """Gradients of weight, bias, head's weight, head's bias from that of the outputs `[N, size]`."""
    inner = (upstream @ u.T) * (1 - hidden**2)
    return features.T @ inner, inner.sum(axis=0), hidden.T @ upstream, upstream.sum(axis=0)


def whole_loss_gradient(state, window, clip, entropy_coefficient, value_coefficient):
    """Of policy, value and entropy terms in float64: the eight gradients of actor and critic, and the metrics."""
    x = np.asarray(window.steps.observation, np.float64).reshape(SIZE, -1)
    following = np.asarray(window.steps.next_observation, np.float64).reshape(SIZE, -1)
    action = np.asarray(window.steps.action).reshape(-1)
    hidden, u, values = forward(state.critic, x)
    values, after = values[:, 0], forward(state.critic, following)[2][:, 0]
    shape = LENGTH, ENVS
    advantage, target = references(window, values.reshape(shape), after.reshape(shape), 0.9, 0.8)
    advantage, error = advantage.reshape(-1), values - target.reshape(-1)
    critic = backward(x, hidden, u, value_coefficient * error[:, None] / SIZE)
    advantage = (advantage - advantage.mean()) / advantage.std()
    hidden, u, logits = forward(state.policy.actor.network, x)
    log_probs = log_softmax(logits, axis=1)
    probs = np.exp(log_probs)
    entropy = -(probs * log_probs).sum(axis=1)
    log_ratio = log_probs[np.arange(SIZE), action] - np.asarray(window.steps.extras, np.float64).reshape(-1)
    ratio = np.exp(log_ratio)
    moved_enough = np.where(advantage > 0, ratio > 1 + clip, ratio < 1 - clip)
    push = np.where(moved_enough, 0.0, -advantage * ratio)
    by_logits = push[:, None] * (np.eye(ACTIONS)[action] - probs)
    by_logits += entropy_coefficient * probs * (log_probs + entropy[:, None])
    metrics = {
        "policy_loss": -np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage).mean(),
        "value_loss": 0.5 * np.mean(error**2),
        "entropy": entropy.mean(),
        "approximate_kl": np.mean(ratio - 1 - log_ratio),
        "clip_fraction": np.mean(np.abs(ratio - 1) > clip),
        "explained_variance": 1 - np.var(error) / np.var(target),
        "target_min": target.min(),
        "target_max": target.max(),
    }
    assert moved_enough.any() and not moved_enough.all()
    return [*backward(x, hidden, u, by_logits / SIZE), *critic], metrics
