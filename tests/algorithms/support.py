"""What the tests of several algorithms share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from operant.contracts import Step, Window


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
