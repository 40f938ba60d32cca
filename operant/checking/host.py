"""Checks of a Gymnasium environment: one copy played, then the same again, then two copies side by side."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import gymnasium
import numpy as np

from operant.checking import episodes as seen
from operant.checking.masks import mask_of, masks, sample
from operant.checking.report import Broken, Finding
from operant.environments.spaces import learner_space
from operant.errors import OperantError
from operant.workers.leaves import map_leaves
from operant.workers.named import first_line

REPEATED = 300  # steps that are played again
FEWEST_EPISODES, MOST_STEPS = 3, 10  # play on for so many episodes, at most this many times the steps asked for


@dataclass
class Moment:
    """What a reset or a step returned, `kept` as it came and `observation` as it then was."""

    kept: Any
    observation: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Any = None
    first: bool = False
    overwritten: bool = False  # the observation before this one changed meanwhile


def check_host(
    first: gymnasium.Env, construct: Callable[[], gymnasium.Env] | None, steps: int, seed: int
) -> Iterator[Finding]:
    """Findings for one environment; `construct`, where there is one, makes further copies."""
    yield from _spaces(first)
    space, limit = first.observation_space, getattr(first.spec, "max_episode_steps", None)
    played, track = [seen.Episode()], []
    for number, moment in enumerate(moments(first, seed, seed)):
        yield from _one(space, moment, number)
        where = f"at the {'reset' if moment.first else f'step {number}'}"
        ended = moment.terminated or moment.truncated
        yield from masks(first.action_space, mask_of(moment.observation, moment.info), ended, where)
        if moment.first and number:
            played.append(seen.Episode())
        _write(space, played[-1], moment)
        if number <= REPEATED:
            track.append(moment)
        enough = number >= steps and sum(episode.ended for episode in played) >= FEWEST_EPISODES
        if enough or number >= MOST_STEPS * steps:
            break
    yield from seen.rewards(np.array([reward for episode in played for reward in episode.rewards]))
    yield from seen.merged_ends(played, limit)
    if not any(episode.ended for episode in played) and limit is None:
        said = f"no episode ended in {sum(len(episode.rewards) for episode in played)} random steps, and no time limit"
        yield Finding("endless", said, "register it with max_episode_steps, or wrap it in TimeLimit", "warning")
    yield from _repeated(first, construct, track, seed)


def moments(environment: gymnasium.Env, seed: int, action_seed: int) -> Iterator[Moment]:
    """Play with random actions for ever; the first reset is seeded. Raises `Broken`."""
    actions = copy.deepcopy(environment.action_space)
    actions.seed(action_seed)
    moment = _reset(environment, seed=seed)
    while True:
        yield moment
        before = moment
        ended = before.terminated or before.truncated
        mask = mask_of(before.observation, before.info)
        moment = _reset(environment) if ended else _step(environment, sample(actions, mask))
        moment.overwritten = not same(before.kept, before.observation)


def same(a: Any, b: Any) -> bool:
    """Whether two observations are equal, NaN with NaN, whatever their structure."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    x, y = np.asarray(a), np.asarray(b)
    return x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())


def _spaces(environment: gymnasium.Env) -> Iterator[Finding]:
    for kind in ("observation_space", "action_space"):
        if not isinstance(getattr(environment, kind, None), gymnasium.Space):
            said = f"{kind} is {getattr(environment, kind, None)!r}"
            raise Broken(Finding("no-space", said, f"set self.{kind} to a gymnasium.spaces space in __init__"))
    try:
        learner_space(environment.action_space)
    except OperantError as error:
        fix = "flatten the actions into one Discrete, MultiDiscrete or Box"
        raise Broken(Finding("action-space", str(error), fix)) from error
    yield from seen.actions(environment.action_space)


def _reset(environment: gymnasium.Env, **arguments: Any) -> Moment:
    fix = "write def reset(self, *, seed=None, options=None), call super().reset(seed=seed), return observation, info"
    try:
        outcome = environment.reset(**arguments)
    except Exception as error:
        said = f"reset({'seed=...' if arguments else ''}) raised {type(error).__name__}: {first_line(error)}"
        wrong = isinstance(error, TypeError) and "argument" in str(error)
        name, told = ("reset-arguments", fix) if wrong else ("raises", "mend what raises it")
        raise Broken(Finding(name, said, told)) from error
    if not isinstance(outcome, tuple) or len(outcome) != 2 or not isinstance(outcome[1], dict):
        raise Broken(Finding("reset-values", "reset did not return two values (observation, info)", fix))
    return Moment(outcome[0], copy.deepcopy(outcome[0]), info=outcome[1], first=True)


def _step(environment: gymnasium.Env, action: Any) -> Moment:
    try:
        outcome = environment.step(action)
    except Exception as error:
        if isinstance(error, ValueError) and "unpack" in str(error) and environment is not environment.unwrapped:
            _reset(environment.unwrapped)
            return _step(environment.unwrapped, action)  # a wrapper stumbled: look at what it was given
        said = f"step({action}) raised {type(error).__name__}: {first_line(error)}"
        raise Broken(Finding("raises", said, "mend what raises it, for every action of the action space")) from error
    if not isinstance(outcome, tuple) or len(outcome) != 5:
        count = len(outcome) if isinstance(outcome, tuple) else "no tuple of"
        fix = "split done: terminated where nothing can follow, truncated where a time limit cut the episode"
        name = "four-tuple" if count == 4 else "step-values"
        said = f"step returned {count} values, not observation, reward, terminated, truncated, info"
        raise Broken(Finding(name, said, fix))
    observation, reward, terminated, truncated, info = outcome
    number = np.asarray(reward)
    if number.ndim or number.dtype.kind not in "biuf":
        raise Broken(Finding("reward-type", f"the reward {reward!r}", "return one number: float(reward)"))
    return Moment(observation, copy.deepcopy(observation), float(number), terminated, truncated, info)


def _one(space: gymnasium.Space, moment: Moment, number: int) -> Iterator[Finding]:
    """What a single reset or step shows."""
    where = f"at the {'reset' if moment.first else f'step {number}'}"
    found: list[Finding] = []

    def look(part: gymnasium.Space, leaf: Any) -> None:
        array = np.asarray(leaf)
        if part.shape is not None and array.shape != part.shape:
            said = f"an observation of shape {array.shape} {where}, its space says {part.shape}"
            found.append(
                Finding("observation-shape", said, f"return arrays of shape {part.shape}, or change the space")
            )
        elif part.dtype is not None and not np.can_cast(array.dtype, part.dtype, "same_kind"):
            said = f"an observation of dtype {array.dtype} {where}, its space says {part.dtype}"
            found.append(Finding("observation-dtype", said, f"return .astype({part.dtype}), or change the space"))
        elif isinstance(leaf, np.ndarray) and not np.can_cast(array.dtype, part.dtype or array.dtype):
            said = f"an observation of dtype {array.dtype} {where}, its space says {part.dtype}"
            fix = f"return .astype({part.dtype}), or change the space"
            found.append(Finding("observation-dtype", said, fix, "warning"))

    try:
        map_leaves(space, look, moment.observation)
    except OperantError as error:
        fix = "return the parts that observation_space names"
        raise Broken(Finding("observation-structure", f"{error} ({where})", fix)) from error
    yield from found
    if any(finding.level == "error" for finding in found):
        raise Broken(found[0])
    yield from seen.values(space, moment.observation, where)
    if not all(isinstance(end, bool | np.bool_) for end in (moment.terminated, moment.truncated)):
        said = f"terminated={moment.terminated!r}, truncated={moment.truncated!r} {where}"
        yield Finding("end-type", said, "return bool(terminated), bool(truncated)", "warning")
    if not isinstance(moment.info, dict):
        yield Finding("info-type", f"info is {type(moment.info).__name__} {where}", "return a dict, {} for nothing")
    elif moment.info.get("TimeLimit.truncated") and not moment.truncated:
        said = f"info says TimeLimit.truncated {where}, and step does not"
        yield Finding("merged-ends", said, "return truncated=True at the time limit, and terminated=False")
    if moment.overwritten:
        said = f"the array returned before {where[3:]} was overwritten by it"
        yield Finding("reused-buffer", said, "return a copy: self.buffer.copy()", "warning")


def _write(space: gymnasium.Space, episode: seen.Episode, moment: Moment) -> None:
    episode.observations.append(seen.flat(space, moment.observation))
    if not moment.first:
        episode.rewards.append(moment.reward)
        episode.terminated, episode.truncated = bool(moment.terminated), bool(moment.truncated)


def _repeated(
    first: gymnasium.Env, construct: Callable[[], gymnasium.Env] | None, track: list[Moment], seed: int
) -> Iterator[Finding]:
    """The same seeds and actions again, on the same copy, on another, and beside another."""
    fix = "draw every random number from self.np_random, after super().reset(seed=seed)"
    again = list(islice(moments(first, seed, seed), len(track)))
    if (number := _difference(track, again)) is not None:
        said = f"two runs with seed {seed} and the same actions differ at step {number}"
        yield Finding("unseeded-randomness", said, fix)
        return
    if construct is None:
        return
    one, other = construct(), construct()
    try:
        if one.observation_space != first.observation_space or one.action_space != first.action_space:
            said = f"two copies have the spaces {first.observation_space} and {one.observation_space}"
            if one.observation_space == first.observation_space:
                said = f"two copies have the action spaces {first.action_space} and {one.action_space}"
            yield Finding("unequal-spaces", said, "let the spaces depend on the constructor's arguments alone")
            return
        if (number := _difference(track, list(islice(moments(one, seed, seed), len(track))))) is not None:
            said = f"two copies with seed {seed} and the same actions differ at step {number}"
            yield Finding("unseeded-randomness", said, fix)
            return
        fix = "keep everything that changes in self, nothing in the class or the module"
        pairs = zip(moments(one, seed, seed), moments(other, seed + 1, seed + 1), strict=True)
        for number, (alone, (mine, _)) in enumerate(zip(track, pairs, strict=False)):
            if _unequal(alone, mine) or not same(mine.kept, mine.observation):
                said = f"a copy behaves otherwise at step {number} once another is stepped beside it"
                yield Finding("shared-state", said, fix)
                return
    finally:
        one.close()
        other.close()


def _difference(track: list[Moment], again: list[Moment]) -> int | None:
    """The first step at which two tracks differ."""
    return next((n for n, pair in enumerate(zip(track, again, strict=True)) if _unequal(*pair)), None)


def _unequal(a: Moment, b: Moment) -> bool:
    told = [(m.reward, bool(m.terminated), bool(m.truncated)) for m in (a, b)]
    return not (same(a.observation, b.observation) and same(*told))
