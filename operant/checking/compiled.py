"""Checks of a compiled environment: what its step returns, and many copies played in one program."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete

from operant.checking import episodes as seen
from operant.checking.report import Broken, Finding
from operant.environments.compiled import Compiled
from operant.environments.spaces import environment_action
from operant.errors import OperantError
from operant.workers.leaves import map_leaves
from operant.workers.named import first_line

COPIES, STARTS = 8, 64


def check_compiled(world: Compiled, steps: int, seed: int) -> Iterator[Finding]:
    """Findings for a compiled environment."""
    yield from seen.actions(world.action_space)
    yield from _types(world)
    track = _played(world, max(8, steps // COPIES), seed)
    starts, after_reset, final, after, reward, terminated, truncated = track
    space, ends = world.observation_space, terminated | truncated

    def rows(tree: Any, lead: int) -> np.ndarray:
        parts: list[np.ndarray] = []
        take = lambda _, leaf: parts.append(np.asarray(leaf, np.float64).reshape(*leaf.shape[:lead], -1))  # noqa: E731
        map_leaves(space, take, tree)
        return np.concatenate(parts, axis=-1)

    def joined(leaf: Any) -> Any:
        return leaf.reshape(-1, *leaf.shape[2:])

    for told, where in ((after_reset, "after a reset"), (jax.tree.map(joined, final), "after a step")):
        yield from seen.values(space, told, where)
    yield from seen.rewards(np.asarray(reward, np.float64))
    beginning, last, following = rows(after_reset, 1), rows(final, 2), rows(after, 2)
    yield from seen.merged_ends(_episodes(beginning, last, following, reward, terminated, truncated), world.time_limit)
    if not world.pooled:
        yield from seen.stale_starts(rows(starts, 1), last[ends], following[ends])


def _types(world: Compiled) -> Iterator[Finding]:
    """Shapes and dtypes of what reset and step return, by tracing alone."""
    environment, params, key = world.environment, world.params, jax.random.key(0)
    reset = environment.reset_env if world.pooled else environment.reset
    step = environment.step_env if world.pooled else environment.step
    action = environment_action(world.action_space, _random_action(world, key, 1), jnp)[0]
    started = _traced("reset", lambda: reset(key, params))
    if not isinstance(started, tuple) or len(started) != 2:
        raise Broken(Finding("reset-values", "reset did not return (observation, state)", "return observation, state"))
    stepped = _traced("step", lambda: step(key, reset(key, params)[1], action, params))
    wanted = "observation, state, reward, terminated, " + ("info" if world.pooled else "truncated, info")
    if not isinstance(stepped, tuple) or len(stepped) != len(wanted.split(", ")):
        count = len(stepped) if isinstance(stepped, tuple) else "no tuple of"
        fix = f"return {wanted} (gymnax 1.x); truncated only where a time limit cut the episode"
        raise Broken(Finding("step-values", f"step returned {count} values", fix))
    if not world.pooled and "final_observation" not in stepped[-1]:
        fix = "reset by itself, and put the observation before that into info['final_observation']"
        raise Broken(Finding("final-observation", "step's info has no 'final_observation'", fix))
    before, after = (jax.tree_util.tree_flatten_with_path(tree) for tree in (started[1], stepped[1]))
    fix = "give the state one structure, with one shape and dtype a leaf, in reset and step alike"
    if before[1] != after[1]:
        raise Broken(Finding("state-type", "the state has another structure after a step", fix))
    for (path, old), (_, new) in zip(before[0], after[0], strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            kinds = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in (old, new)]
            said = f"state{jax.tree_util.keystr(path)} is {kinds[0]} after reset, {kinds[1]} after step"
            raise Broken(Finding("state-type", said, fix))
    for name, end in zip(("terminated", "truncated"), stepped[3:-1], strict=False):
        if end.dtype != bool or end.shape != ():
            said = f"{name} is {end.dtype}{list(end.shape)}"
            yield Finding("end-type", said, f"return a boolean scalar: jnp.bool_({name})")
    real = jnp.issubdtype(stepped[2].dtype, jnp.number) or stepped[2].dtype == bool
    if stepped[2].shape != () or not real:
        said = f"the reward is {stepped[2].dtype}{list(stepped[2].shape)}"
        raise Broken(Finding("reward-type", said, "return one real number: jnp.float32(reward)"))
    for observation in (started[0], stepped[0]):
        yield from _shapes(world, observation)


def _shapes(world: Compiled, observation: Any) -> Iterator[Finding]:
    found: list[Finding] = []

    def look(space: Any, leaf: Any) -> None:
        if leaf.shape != space.shape:
            said = f"an observation of shape {leaf.shape}, its space says {space.shape}"
            found.append(Finding("observation-shape", said, "return that shape, or change the space"))

    try:
        map_leaves(world.observation_space, look, observation)
    except OperantError as error:
        fix = "return the parts that observation_space names"
        raise Broken(Finding("observation-structure", str(error), fix)) from error
    if found:
        raise Broken(found[0])
    yield from found


def _traced(what: str, function: Any) -> Any:
    """The shapes that `function` returns; twice traced, to see what randomness Python froze into the program."""
    try:
        programs = [jax.make_jaxpr(lambda: function(), return_shape=True)() for _ in range(2)]
    except Exception as error:
        said = f"{what} cannot be traced: {type(error).__name__}: {first_line(error)}"
        fix = "use jnp.where and jax.lax.cond for branches on values, jnp for arrays"
        raise Broken(Finding("not-traceable", said, fix)) from error
    (one, shapes), (other, _) = programs
    constants = [[leaf for leaf in map(_numbers, program.consts) if leaf is not None] for program in (one, other)]
    alike = len(constants[0]) == len(constants[1]) and all(map(np.array_equal, *constants))
    if str(one.jaxpr) != str(other.jaxpr) or not alike:
        said = f"{what} traced twice gives two programs: a random number of Python's or NumPy's is frozen into them"
        fix = "draw every random number from the key, with jax.random"
        raise Broken(Finding("unseeded-randomness", said, fix))
    return shapes


def _numbers(constant: Any) -> np.ndarray | None:
    """The numbers of a program's constant; None for a key, which has none."""
    is_key = jnp.issubdtype(getattr(constant, "dtype", np.float32), jax.dtypes.prng_key)
    return None if is_key else np.asarray(constant)


def _random_action(world: Compiled, key: Any, count: int) -> Any:
    """Random actions `[count, ...]` in a learner's units."""
    space: Any = world.spec(count).action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (count,), 0, int(space.n))
    if isinstance(space, Box):
        return jax.random.uniform(key, (count, *space.shape), jnp.float32, -1.0, 1.0)
    return jax.random.randint(key, (count, *space.shape), 0, jnp.asarray(space.nvec)[None])


def _played(world: Compiled, length: int, seed: int) -> Any:
    """True starts, first observations `[B, ...]`, then final and following ones, rewards and ends `[T, B, ...]`."""
    key = jax.random.key(seed)

    @jax.jit
    def run() -> Any:
        starts = jax.vmap(lambda k: world.environment.reset(k, world.params)[0])(jax.random.split(key, STARTS))
        worlds, observation = world.reset(key, COPIES, length)

        def one(worlds: Any, time: Any) -> Any:
            acting, stepping = jax.random.split(jax.random.fold_in(key, time))
            return world.step(stepping, worlds, _random_action(world, acting, COPIES))

        _, told = jax.lax.scan(one, worlds, jnp.arange(length))
        return starts, observation, told

    try:
        starts, observation, told = jax.tree.map(np.asarray, run())
    except Exception as error:
        said = f"many copies in one program: {type(error).__name__}: {first_line(error)}"
        raise Broken(Finding("not-traceable", said, "keep step free of side effects and Python branches")) from error
    return starts, observation, told.next_observation, told.observation, told.reward, told.terminated, told.truncated


def _episodes(first: np.ndarray, final: np.ndarray, after: np.ndarray, reward: Any, terminated: Any, truncated: Any):
    """The episodes that were played, copy by copy."""
    played: list[seen.Episode] = []
    for copy in range(first.shape[0]):
        episode = seen.Episode([first[copy]])
        for time in range(len(reward)):
            episode.observations.append(final[time, copy])
            episode.rewards.append(float(reward[time, copy]))
            episode.terminated, episode.truncated = bool(terminated[time, copy]), bool(truncated[time, copy])
            if episode.ended:
                played.append(episode)
                episode = seen.Episode([after[time, copy]])
    return played
