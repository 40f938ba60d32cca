"""Evaluation: whole episodes of a frozen policy on environments and seeds of its own.

Every slot plays a fixed number of episodes and all of them count: the first hundred to finish would be the
short ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, Clock, Context
from operant.core import keys, runtime
from operant.core.statistics import Evaluation
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.parts.component import strong
from operant.parts.networks.heads import restart

SLOTS = 1024
MOST_TURNS = 2
# Where an environment has no time limit, the steps that an evaluation may spend on one episode.
LONGEST = 10_000


class Tally(NamedTuple):
    """Finished episodes by slot and turn; a length of 0 is an episode that did not end in time."""

    returns: Array  # [slots, turns]
    lengths: Array  # [slots, turns] int32


def plan(episodes: int) -> tuple[int, int]:
    """`(slots, turns)` with slots x turns >= episodes.

    Slots that are done play on until all are, so a slot has many more fresh starts in the pool than turns.
    """
    slots = max(min(episodes, SLOTS), -(-episodes // MOST_TURNS))
    return slots, -(-episodes // slots)


def final_clock() -> Clock:
    """The clock at the end of training: what schedules and exploration read while a finished agent acts."""
    return Clock(jnp.int32(0), jnp.float32(1.0))


def compiled_evaluator(environment: Compiled, episodes: int, explore: bool = False) -> Callable[..., Tally]:
    """`evaluate(algorithm, policy, key) -> Tally`, to be jitted, and vmapped over policies if wanted."""
    slots, turns = plan(episodes)
    spec = environment.spec(slots)
    limit = (environment.time_limit or LONGEST) * turns
    context = Context(spec, final_clock())

    def evaluate(algorithm: Any, policy: Any, key: Array) -> Tally:
        worlds, observation = environment.reset(keys.role(key, keys.RESET), slots)
        memory = algorithm.start(policy, keys.role(key, keys.START), spec)
        zeros = jnp.zeros((slots, turns))
        empty = Tally(zeros, jnp.int32(zeros))

        def running(loop: tuple) -> Array:
            t, *_, turn, _, _, _ = loop
            return (t < limit) & jnp.any(turn < turns)

        def body(loop: tuple) -> tuple:
            t, worlds, observation, memory, turn, returns, lengths, tally = loop
            key_act, key_step = keys.role(key, keys.ACT, t), keys.role(key, keys.STEP, t)
            memory, action, _ = algorithm.act(policy, memory, observation, key_act, context, explore=explore)
            worlds, seen = environment.step(key_step, worlds, action)
            returns, lengths, last = returns + seen.reward, lengths + 1, jnp.logical_or(seen.terminated, seen.truncated)
            counted = last[:, None] & (jnp.arange(turns)[None] == turn[:, None])
            tally = Tally(
                jnp.where(counted, returns[:, None], tally.returns), jnp.where(counted, lengths[:, None], tally.lengths)
            )
            if jax.tree.leaves(memory):
                memory = restart(memory, algorithm.start(policy, keys.role(key, keys.START, t + 1), spec), last)
            returns, lengths = jnp.where(last, 0.0, returns), jnp.where(last, 0, lengths)
            return t + 1, worlds, seen.observation, memory, turn + last, returns, lengths, tally

        still = jnp.zeros(slots, jnp.int32)
        loop = (jnp.int32(0), worlds, observation, memory, still, jnp.zeros(slots), still, empty)
        return jax.lax.while_loop(running, body, loop)[-1]

    return evaluate


def host_evaluator(
    algorithm: Any, environment: Host, episodes: int, explore: bool = False
) -> Callable[[Any, int], Evaluation]:
    """`evaluate(policy, seed)` on a Gymnasium vector environment, whose slots all play the same number of episodes."""
    slots = environment.num_envs
    turns = -(-episodes // slots)
    spec = environment.spec()
    context = Context(spec, final_clock())

    @jax.jit
    def act(policy: Any, memory: Any, observation: Any, last: Array, key: Array, t: Array) -> tuple[Any, Any]:
        if jax.tree.leaves(memory):
            memory = restart(memory, algorithm.start(policy, keys.role(key, keys.START, t), spec), last)
        memory, action, _ = algorithm.act(
            policy, memory, observation, keys.role(key, keys.ACT, t), context, explore=explore
        )
        return memory, action

    def evaluate(policy: Any, seed: int) -> Evaluation:
        key = keys.root(seed)
        observation = environment.reset(int(np.random.default_rng(seed).integers(2**31)))
        memory = algorithm.start(policy, keys.role(key, keys.START), spec)
        tally = Tally(np.zeros((slots, turns)), np.zeros((slots, turns), int))
        returns, lengths, turn = np.zeros(slots), np.zeros(slots, int), np.zeros(slots, int)
        last = np.zeros(slots, bool)
        for t in range((environment.time_limit or LONGEST) * turns):
            memory, action = act(policy, memory, observation, last, key, np.int32(t))
            seen = environment.step(np.asarray(action))
            observation, last = seen.observation, np.logical_or(seen.terminated, seen.truncated)
            returns, lengths = returns + seen.reward, lengths + 1
            for slot in np.flatnonzero(last & (turn < turns)):
                tally.returns[slot, turn[slot]], tally.lengths[slot, turn[slot]] = returns[slot], lengths[slot]
            turn += last
            returns[last], lengths[last] = 0.0, 0
            if (turn >= turns).all():
                break
        return tallied(tally)

    return evaluate


def evaluator(
    algorithm: Any, environment: Compiled | Host, episodes: int, explore: bool = False, once: bool = False
) -> Callable[[Any, int], list[Evaluation]]:
    """`evaluate(policies [N, ...], seed)`: one evaluation a policy, all on the same episodes' seeds.

    `algorithm` is that of all policies, or a list of their own ones, which differ in data alone. The program is
    compiled in the first call, in less time where it is to be called only `once`.
    """
    own = [strong(each) for each in algorithm] if isinstance(algorithm, list) else None
    if own is not None and isinstance(environment, Compiled):
        algorithm = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *own)
    elif own is None:
        algorithm = strong(algorithm)
    if isinstance(environment, Compiled):
        together = jax.jit(
            jax.vmap(compiled_evaluator(environment, episodes, explore), in_axes=(None if own is None else 0, 0, None)),
            compiler_options=runtime.once() if once else None,
        )

        def evaluate(policies: Any, seed: int) -> list[Evaluation]:
            tally = together(algorithm, policies, keys.role(keys.root(seed), keys.EVALUATE))
            return [tallied(jax.tree.map(lambda leaf, k=k: leaf[k], tally)) for k in range(len(tally.returns))]

        return evaluate
    alone = [host_evaluator(each, environment, episodes, explore) for each in own or [algorithm]]

    def in_turn(policies: Any, seed: int) -> list[Evaluation]:
        count = jax.tree.leaves(policies)[0].shape[0]
        # Apart from the training seeds, which count up from a run's own.
        apart = seed + 1_000_003
        return [alone[k % len(alone)](jax.tree.map(lambda leaf, k=k: leaf[k], policies), apart) for k in range(count)]

    return in_turn


def tallied(tally: Tally) -> Evaluation:
    """The finished episodes of a tally, as statistics."""
    returns, lengths = np.asarray(tally.returns, np.float64).ravel(), np.asarray(tally.lengths).ravel()
    return Evaluation(returns[lengths > 0], lengths[lengths > 0])
