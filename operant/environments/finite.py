"""A finite MDP as a compiled environment: its table of outcomes, sampled inside the program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Discrete

from operant.contracts import Array
from operant.errors import OperantError
from operant.finite.mdp import MDP, start_of


class Limit(NamedTuple):
    """The parameters: steps in an episode, None where there is no limit."""

    max_steps_in_episode: int | None


class Place(NamedTuple):
    """Where an episode is."""

    state: Array  # int32
    time: Array  # int32, steps taken


class Finite:
    """An `MDP` with gymnax's methods: observations Discrete(S), actions Discrete(A), the MDP's horizon as time limit.

    Every outcome (next state, reward, terminated) of p(s', r | s, a) is drawn jointly, by binary search of 32 random
    bits among the cumulative probabilities of its row, which are exact to 2^-32. Episodes begin as `mdp.start` says,
    without one in any state that is not terminal, all alike; `dataclasses.replace(mdp, start=...)` sets another
    distribution, exploring starts included.

    Raises `OperantError` where an action is not legal in some state (`mdp.complete()` gives it a meaning), and where
    an episode may start in a terminal state.
    """

    def __init__(self, mdp: MDP, name: str = "MDP"):
        self.mdp, self.name = mdp, name
        going = ~mdp.terminal
        missing = going[:, None] & ~mdp.legal
        if missing.any():
            state, action = divmod(int(np.argmax(missing)), mdp.num_actions)
            raise OperantError(
                f"{name}: action {action} is not legal in state {state}, and a learner may take any action: "
                "mdp.complete() lets it do what the state's first legal action does"
            )
        start = start_of(mdp)
        if not going.any() or (start[mdp.terminal] > 0).any():
            state = int(np.argmax(mdp.terminal & ((start > 0) | ~going.any())))
            raise OperantError(f"{name}: an episode may start in state {state}, which is terminal")
        possible = np.flatnonzero(start)
        self._starts = jnp.asarray(possible, jnp.int32)
        self._start_bits = jnp.asarray(_thresholds(start[possible], np.array([0, len(possible)])))
        kept = mdp.probabilities > 0
        offsets = np.concatenate([[0], np.cumsum(kept)])[mdp.offsets]
        if offsets[-1] >= 2**31:
            raise OperantError(f"{name}: {offsets[-1]:,} outcomes are too many for one compiled table")
        self._offsets = jnp.asarray(offsets, jnp.int32)
        self._bits = jnp.asarray(_thresholds(mdp.probabilities[kept], offsets))
        self._widest = int(np.diff(offsets).max())
        self._targets = jnp.asarray(mdp.next_states[kept])
        self._rewards = jnp.asarray(mdp.rewards[kept], jnp.float32)
        self._ends = jnp.asarray(mdp.terminated[kept])

    @property
    def default_params(self) -> Limit:
        return Limit(self.mdp.horizon)

    def observation_space(self, params: Limit) -> Discrete:
        return Discrete(self.mdp.num_states)

    def action_space(self, params: Limit) -> Discrete:
        return Discrete(self.mdp.num_actions)

    def reset(self, key: Array, params: Limit) -> tuple[Array, Place]:
        """The first observation (the state) and the place of a fresh episode."""
        return self._fresh(jax.random.bits(key, (), jnp.uint32))

    def step(self, key: Array, place: Place, action: Array, params: Limit) -> tuple:
        """gymnax 1.x's six values; where the episode ends, observation and place are those of the next one."""
        bits = jax.random.bits(key, (2,), jnp.uint32)
        row = place.state * self.mdp.num_actions + action
        outcome = _drawn(bits[0], self._bits, self._offsets[row], self._offsets[row + 1], self._widest)
        state, time = self._targets[outcome], place.time + 1
        terminated = self._ends[outcome]
        limit = params.max_steps_in_episode
        truncated = jnp.zeros_like(terminated) if limit is None else time >= limit
        ended = terminated | truncated
        fresh, _ = self._fresh(bits[1])
        following = Place(jnp.where(ended, fresh, state), jnp.where(ended, 0, time))
        info = {"final_observation": state}
        return following.state, following, self._rewards[outcome], terminated, truncated, info

    def _fresh(self, bits: Array) -> tuple[Array, Place]:
        count = self._starts.shape[0]
        state = self._starts[_drawn(bits, self._start_bits, jnp.int32(0), jnp.int32(count), count)]
        return state, Place(state, jnp.int32(0))


def _thresholds(probabilities: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """For each outcome the least 32 bits beyond it, in its row: uint32, `[N]`."""
    total = np.cumsum(probabilities)
    before = np.concatenate([[0.0], total])[offsets[:-1]]
    within = total - np.repeat(before, np.diff(offsets))
    return np.minimum(np.round(within * 2.0**32), 2.0**32 - 1).astype(np.uint32)


def _drawn(bits: Array, thresholds: Array, first: Array, last: Array, widest: int) -> Array:
    """The place in `first .. last - 1` whose share of all 32-bit numbers holds `bits`, by binary search."""
    place = first
    for power in reversed(range((widest - 1).bit_length())):
        probe = place + (1 << power)
        beyond = bits >= thresholds.at[probe - 1].get(mode="clip")
        # The last outcome has all that is left, so its own threshold is never read.
        place = jnp.where((probe < last) & beyond, probe, place)
    return place
