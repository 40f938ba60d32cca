"""What the tests of several algorithms share."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import operant
from operant.contracts import Clock, Context, Episodes, Step, Window


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


def references(window, values, next_values, discount, trace):
    """Advantages and value targets `[T, B]` by their definition, in float64."""
    reward = np.asarray(window.steps.reward, np.float64)
    terminated, last = np.asarray(window.steps.terminated), np.asarray(window.steps.last)
    advantage = np.zeros_like(reward)
    for e in range(reward.shape[1]):
        for t in reversed(range(reward.shape[0])):
            bootstrap = 0.0 if terminated[t, e] else next_values[t, e]
            advantage[t, e] = reward[t, e] + discount * bootstrap - values[t, e]
            if not last[t, e] and t + 1 < reward.shape[0]:
                advantage[t, e] += discount * trace * advantage[t + 1, e]
    return advantage, advantage + values


def random_window(rng, actor, space, features, terminated, truncated):
    """A window `[T, B]` of random observations, actions and rewards, with the actor's own log-probabilities."""
    length, envs = terminated.shape
    last = terminated | truncated
    observation, following = rng.normal(size=(2, length, envs, features)).astype(np.float32)
    following[:-1] = np.where(last[:-1, :, None], following[:-1], observation[1:])
    outputs = actor.network((), jnp.asarray(observation.reshape(-1, features)))[1]
    distribution = actor.distribution(outputs, space)
    action, log_prob = distribution.sample_and_log_prob(jax.random.key(int(rng.integers(2**31))))
    reward = rng.normal(size=(length, envs)).astype(np.float32)
    action, log_prob = (leaf.reshape(length, envs, *leaf.shape[1:]) for leaf in (action, log_prob))
    steps = Step(observation, action, reward, terminated, truncated, following, log_prob)
    return Window(jax.tree.map(jnp.asarray, steps), (), jnp.arange(envs), jnp.int32(0))


def policy_learners(network):
    """One of each learner of a policy with `network`, whose updates see the window as it acted."""
    fields = {"network": network}
    return {
        "a2c": operant.A2C(**fields),
        "a3c": operant.A3C(**fields, num_actors=1),
        "ppo": operant.PPO(**fields, num_epochs=1, num_minibatches=1),
        "reinforce": operant.REINFORCE(**fields),
        "trpo": operant.TRPO(**fields, num_minibatches=1),
        "vpg": operant.VPG(**fields, num_minibatches=1),
    }


def actor_of(state):
    """The actor, which for REINFORCE is the whole policy."""
    return getattr(state.policy, "actor", state.policy)


def begun(algorithm, spec, head):
    """A fresh state whose actor has the head's weight `[features, actions]`."""
    state = jax.jit(lambda key: algorithm.init(key, spec))(jax.random.key(0))
    return eqx.tree_at(lambda s: actor_of(s).network.head.weight, state, jnp.float32(head))


def window_for(algorithm, steps, memory=()):
    """`steps` `[T, B]` as a window; all of it valid for a learner from whole episodes."""
    length, envs = steps.reward.shape
    valid = jnp.ones((length, envs), bool) if isinstance(algorithm.window(), Episodes) else None
    return Window(jax.tree.map(jnp.asarray, steps), memory, jnp.arange(envs), jnp.int32(0), valid)


def learned(algorithm, state, window, spec):
    context = Context(spec, Clock(jnp.int32(0), jnp.float32(0)))
    return jax.jit(lambda s, w: algorithm.learn(s, w, jax.random.key(1), context))(state, window)


def assert_vtrace_corrects_nothing(algorithm, state, window, spec):
    """With the log-probabilities that acted every ratio is one, and A3C's gradient is what it is without V-trace."""
    context = Context(spec, Clock(jnp.int32(0), jnp.float32(0)))
    plain, corrected = (
        jax.jit(lambda s, w, a=each: a.gradient(s, w, jax.random.key(1), context)[1])(state, window)
        for each in (algorithm, dataclasses.replace(algorithm, correction="vtrace"))
    )
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(corrected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
