"""Windows of experience inside a compiled program: acting and stepping scanned together.

Only what a step changes travels through the loop; the learner's state stays outside it, where nothing copies it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from operant.contracts import Array, Clock, Context, Ratio, Spec, Step, Window
from operant.core import keys
from operant.core.drivers import ahead
from operant.core.metrics import Health, add, summed, well
from operant.environments.compiled import Compiled, Worlds
from operant.parts.networks.heads import restart


class Carry(NamedTuple):
    """Everything that a run is, between two iterations; what a checkpoint holds."""

    key: Array
    state: Any
    worlds: Worlds
    observation: Any
    memory: Any
    returns: Array  # [B] of the running episodes
    lengths: Array  # [B] int32
    totals: dict[str, Ratio]  # metrics since the last row
    health: Health


@dataclass(frozen=True, eq=False)
class Collector:
    """Collects windows of `length` steps, or of whole episodes of at most `length` steps."""

    environment: Compiled
    spec: Spec
    length: int

    def begin(self, algorithm: Any, policy: Any, key: Array) -> Carry:
        """Everything at the start of an episode in a run with `key`; the state is the caller's to put in."""
        worlds, observation = self.environment.reset(keys.role(key, keys.RESET), self.spec.num_envs, self.length)
        memory = algorithm.start(policy, keys.role(key, keys.START), self.spec)
        zeros = jnp.zeros(self.spec.num_envs)
        return Carry(key, (), worlds, observation, memory, zeros, jnp.int32(zeros), {}, well())

    def keys(self, key: Array, iteration: Array) -> tuple[Array, Array, Array]:
        """The keys of each step of a window, `[T]`: to act, to step, and to restart memory after the step.

        All at once, because random numbers cost much less in bulk.
        """
        times = iteration * self.length + jnp.arange(self.length)
        acting, stepping = (jax.vmap(partial(keys.role, key, role))(times) for role in (keys.ACT, keys.STEP))
        return acting, stepping, jax.vmap(partial(keys.role, key, keys.START))(times + 1)

    def step(self, algorithm: Any, carry: Carry, key: tuple, context: Context) -> tuple[Carry, Step]:
        """One step of every environment; the running episode's return and length are those after it."""
        key_act, key_step, key_start = key
        policy = carry.state.policy
        memory, action, extras = algorithm.act(policy, carry.memory, carry.observation, key_act, context, explore=True)
        worlds, seen = self.environment.step(key_step, carry.worlds, action)
        ends = seen.terminated, seen.truncated
        step = Step(carry.observation, action, seen.reward, *ends, seen.next_observation, extras)
        if jax.tree.leaves(memory):
            fresh = algorithm.start(policy, key_start, self.spec)
            memory = restart(memory, fresh, step.last)
        carry = carry._replace(worlds=worlds, observation=seen.observation, memory=memory)
        return carry._replace(returns=carry.returns + seen.reward, lengths=carry.lengths + 1), step

    def steps(self, algorithm: Any, carry: Carry, context: Context) -> tuple[Carry, Window, dict[str, Ratio]]:
        iteration, memory = context.clock.iteration, carry.memory
        key_pool = keys.role(carry.key, keys.POOL, iteration)
        carry = carry._replace(worlds=self.environment.refresh(key_pool, carry.worlds, iteration, self.length))
        outside = carry.state, carry.totals

        def body(inner: Carry, key: tuple) -> tuple[Carry, tuple]:
            inner, step = self.step(algorithm, inner._replace(state=outside[0]), key, context)
            ongoing, last = inner, step.last
            returns, lengths = jnp.where(last, 0.0, inner.returns), jnp.where(last, 0, inner.lengths)
            return inner._replace(returns=returns, lengths=lengths, state=()), (step, ongoing.returns, ongoing.lengths)

        inner = carry._replace(state=(), totals={})
        inner, (steps, returns, lengths) = jax.lax.scan(body, inner, self.keys(carry.key, iteration))
        carry, last = inner._replace(state=outside[0], totals=outside[1]), steps.last
        count = jnp.sum(last, dtype=jnp.float32)
        ratios = {
            "episode_return": Ratio(jnp.sum(jnp.where(last, returns, 0.0)), count),
            "episode_length": Ratio(jnp.sum(jnp.where(last, lengths, 0), dtype=jnp.float32), count),
        }
        return carry, self._window(steps, memory), ratios

    def online(self, algorithm: Any, carry: Carry, iteration: Array, total: Array) -> tuple:
        """`length` windows of one step, each learned from before the next.

        Returns the carry with the sums of what was observed and paid; metrics; and the episodes' ratios.
        """
        key_pool = keys.role(carry.key, keys.POOL, iteration)
        carry = carry._replace(worlds=self.environment.refresh(key_pool, carry.worlds, iteration, self.length))
        times, root = iteration * self.length + jnp.arange(self.length), carry.key

        def one(inner: Carry, time: Array, key: tuple) -> tuple[Carry, dict[str, Ratio]]:
            context = Context(self.spec, Clock(time, jnp.minimum(time / (total * self.length), 1.0)))
            memory = inner.memory
            inner, step = self.step(algorithm, inner, key, context)
            window = self._window(jax.tree.map(lambda leaf: leaf[None], step), memory)
            state, metrics = algorithm.learn(inner.state, window, keys.role(root, keys.LEARN, time), context)
            last, count = step.last, jnp.sum(step.last, dtype=jnp.float32)
            ended = {
                "episode_return": Ratio(jnp.sum(jnp.where(last, inner.returns, 0.0)), count),
                "episode_length": Ratio(jnp.sum(jnp.where(last, inner.lengths, 0), dtype=jnp.float32), count),
            }
            returns, lengths = jnp.where(last, 0.0, inner.returns), jnp.where(last, 0, inner.lengths)
            seen = {"seen": Ratio(summed(step.next_observation), summed(step.reward))}
            return inner._replace(state=state, returns=returns, lengths=lengths), metrics | ended | seen

        every = times, self.keys(root, iteration)
        shapes = jax.eval_shape(lambda: one(carry, *jax.tree.map(lambda each: each[0], every))[1])
        zero = {name: Ratio(jnp.float32(0), jnp.float32(0)) for name in shapes}
        structure = jax.tree.structure(zero)

        def body(loop: tuple, inputs: tuple) -> tuple[tuple, None]:
            inner, sums = loop
            inner, metrics = one(inner, *inputs)
            # As one vector: what a compiled loop costs is its number of arrays.
            return (inner, sums + jnp.stack(jax.tree.leaves(add(zero, metrics)))), None

        outside = carry.totals
        (carry, sums), _ = ahead.scan(body, (carry._replace(totals={}), jnp.zeros(structure.num_leaves)), every)
        metrics = jax.tree.unflatten(structure, list(sums))
        observed, paid = metrics.pop("seen")
        return (carry._replace(totals=outside), (observed, paid, False)), metrics, {}

    def episodes(self, algorithm: Any, carry: Carry, context: Context) -> tuple[Carry, Window, dict[str, Ratio]]:
        iteration, outside = context.clock.iteration, (carry.state, carry.totals)
        key_reset = keys.role(carry.key, keys.RESET, iteration + 1)
        worlds, observation = self.environment.reset(key_reset, self.spec.num_envs, self.length)
        memory = algorithm.start(carry.state.policy, keys.role(carry.key, keys.START, iteration), self.spec)
        zeros = jnp.zeros(self.spec.num_envs)
        start = carry._replace(
            worlds=worlds, observation=observation, memory=memory, returns=zeros, lengths=jnp.int32(zeros)
        )
        every = self.keys(carry.key, iteration)
        first = jax.tree.map(lambda each: each[0], every)
        shapes = jax.eval_shape(lambda: self.step(algorithm, start, first, context)[1])
        steps = jax.tree.map(lambda leaf: jnp.zeros((self.length, *leaf.shape), leaf.dtype), shapes)
        valid = jnp.zeros((self.length, self.spec.num_envs), bool)

        def running(loop: tuple) -> Array:
            return (loop[0] < self.length) & jnp.any(loop[2])

        def body(loop: tuple) -> tuple:
            t, inner, alive, steps, valid = loop
            key = jax.tree.map(lambda each: each[t], every)
            inner, step = self.step(algorithm, inner._replace(state=outside[0]), key, context)
            steps = jax.tree.map(partial(jax.lax.dynamic_update_index_in_dim, index=t, axis=0), steps, step)
            valid = valid.at[t].set(alive)
            return t + 1, inner._replace(state=()), alive & ~step.last, steps, valid

        alive = jnp.ones(self.spec.num_envs, bool)
        inner = start._replace(state=(), totals={})
        _, inner, _, steps, valid = jax.lax.while_loop(running, body, (jnp.int32(0), inner, alive, steps, valid))
        carry = inner._replace(state=outside[0], totals=outside[1], returns=zeros, lengths=jnp.int32(zeros))
        count = jnp.float32(self.spec.num_envs)
        ratios = {
            "episode_return": Ratio(jnp.sum(jnp.where(valid, steps.reward, 0.0)), count),
            "episode_length": Ratio(jnp.sum(valid, dtype=jnp.float32), count),
        }
        return carry, self._window(steps, memory)._replace(valid=valid), ratios

    def _window(self, steps: Step, memory: Any) -> Window:
        return Window(steps, memory, jnp.arange(self.spec.num_envs, dtype=jnp.int32), jnp.int32(0))
