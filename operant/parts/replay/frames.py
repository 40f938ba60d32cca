"""Stacked frames in a replay, each kept once: the newest of every observation, from which stacks are rebuilt.

The DQN of Atari sees the last four frames at every step (Mnih et al. 2015, methods). A million steps of 84 x 84 bytes,
kept whole with what followed them, are 56 GB; with each frame kept once they are 7 GB.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.errors import OperantError
from operant.parts.component import component
from operant.parts.replay.host_memory import Memory, chosen, put, zeros
from operant.parts.replay.storage import ReplayState, Whole, later
from operant.parts.replay.transitions import Transition

FINALS = 32  # for so many rows there is place for one last frame of a truncated episode


class Kept(NamedTuple):
    """What is kept of a row beside its newest frame."""

    follows: Array  # bool: its observation is what followed the row before it in its stream
    padded: Array  # bool: where it does not, the frames before the newest are zeros, not its repetitions
    final: Array  # int32: where it does not, the number of the last frame of the episode before; -1 where none is kept
    rest: Transition  # without observations


class FramesState(NamedTuple):
    """The ring, and the few frames that are in none of its rows."""

    ring: ReplayState  # of `Kept`
    frames: ReplayState  # the newest of each row
    following: Array  # [streams, stack, ...]: what followed each stream's newest row
    alive: Array  # bool [streams]: it has a value
    finals: Array  # [places, ...]: last frames of truncated episodes
    ends: Array  # int32: how many of them there were


@component
class Frames:
    """Of each observation the newest of its `stack` frames; stacks are rebuilt, bit for bit, when rows are drawn.

    Frames lie along an observation's first axis (as Gymnasium's FrameStackObservation and ale-py have them) or its
    last, whichever has `stack` entries. At the start of an episode the older ones must be repetitions of the newest
    (Gymnasium) or zeros (ale-py). A row whose observation is neither that nor what followed the row before it gets a
    reward that is not a number, so that learning from what are no stacks stops. After a terminal step, whose next
    observation has no value, the newest frame stands in its place; so it does for the oldest rows at truncations where
    more than one step in 32 is one.
    """

    stack: int = 4
    memory: Memory = "device"  # whose keeps the rows; the host's serves environments that step there

    def init(self, example: Any, capacity: int, block: int, streams: int) -> FramesState:
        """An empty ring. Raises `OperantError` where rows are no transitions between stacks of frames."""
        if not isinstance(example, Transition):
            raise OperantError("Frames keeps single transitions: use it with dqn or one of its relatives")
        seen = jax.eval_shape(lambda tree: tree, example.observation)
        shape = getattr(seen, "shape", ())
        # A vector is no stack: with as many entries as frames it would be taken for one of numbers.
        if self.stack < 2 or len(shape) < 2 or self.stack not in (shape[0], shape[-1]):
            told = f"of shape {seen.shape}" if hasattr(seen, "shape") else "with parts"
            raise OperantError(f"observations {told} are no stack of {self.stack} frames (Frames's stack, at least 2)")
        shape = jnp.moveaxis(jnp.zeros(seen.shape, seen.dtype), self._axis(seen.shape), 0).shape[1:]
        frame, flag = jnp.zeros(shape, seen.dtype), jnp.bool_(False)
        kept = Kept(flag, flag, jnp.int32(0), example._replace(observation=(), next_observation=()))
        # Beside the capacity, the oldest rows, which only lend their frames.
        capacity = (-(-capacity // block) + self._lending(block, streams)) * block
        return FramesState(
            Whole(self.memory).init(kept, capacity, block, streams),
            Whole(self.memory).init(frame, capacity, block, streams),
            jnp.zeros((streams, *seen.shape), seen.dtype),
            jnp.zeros(streams, bool),
            zeros((max(block, capacity // FINALS), *shape), seen.dtype, self.memory),
            jnp.zeros((), jnp.int32),
        )

    def push(self, state: FramesState, batch: Transition) -> FramesState:
        """Write `batch`, leaves `[block, ...]`, time by time, over the oldest block."""
        block, places = len(batch.reward), len(state.finals)
        # What followed the row before each, in its stream, and whether that has a value.
        before = jnp.concatenate([state.following, batch.next_observation])
        alive = jnp.concatenate([state.alive, batch.continues > 0])
        seen, after, ahead = (self._first(x) for x in (batch.observation, batch.next_observation, before[:block]))
        same = lambda a, b: jnp.all(a == b, axis=tuple(range(1, a.ndim)))  # noqa: E731
        older, newest = seen[:, :-1], seen[:, -1:]
        follows, padded = same(seen, ahead), same(older, jnp.zeros_like(older))
        repeated = same(older, jnp.broadcast_to(newest, older.shape))
        known = (follows | padded | repeated) & same(after[:, :-1], seen[:, 1:])
        cut = ~follows & alive[:block]
        number = state.ends + jnp.cumsum(cut, dtype=jnp.int32) - 1
        finals = put(state.finals, jnp.where(cut, number % places, places), ahead[:, -1])
        rest = batch._replace(observation=(), next_observation=(), reward=jnp.where(known, batch.reward, jnp.nan))
        return FramesState(
            Whole().push(state.ring, Kept(follows, padded, jnp.where(cut, number, -1), rest)),
            Whole().push(state.frames, newest[:, 0]),
            before[block:],
            alive[block:],
            finals,
            number[-1] + 1,
        )

    def rows(self, state: FramesState, index: Array) -> Transition:
        """The rows at `index` int32 `[N]`, leaves `[N, *shape]`."""
        m = state.ring.module
        streams, stack, places = len(state.following), self.stack, len(state.finals)
        # Of each row those before it, the row itself, and the next.
        near, there = later(state.ring, index[:, None], (m.arange(1 - stack, 2) * streams)[None])
        kept, number = Whole().rows(state.ring, near), m.arange(stack + 1)[None]
        # The first whose frame is in the stack: as far back as each row follows the one before it.
        follows = m.cumprod(kept.follows[:, stack - 1 : 0 : -1], axis=1, dtype=m.int32)
        first = stack - 1 - m.sum(follows, axis=1, keepdims=True)
        joined = there[:, -1:] & kept.follows[:, -1:]  # the next row begins with what followed
        source = m.where(number < stack, m.maximum(number, first), m.where(joined, stack, stack - 1))
        frames = Whole().rows(state.frames, m.take_along_axis(near, source, axis=1))
        padded = (number < first) & m.take_along_axis(kept.padded, first, axis=1)
        frames = chosen(padded, m.zeros((), frames.dtype), frames)
        # What followed, where no row begins with it: the newest rows', and the last frames of truncated episodes.
        final, there, newest = kept.final[:, -1], there[:, -1], frames[:, -1]
        held = there & (final >= 0) & (m.asarray(state.ends) - final <= places)
        newest = chosen(held, state.finals[final % places], newest)
        following = m.take(m.asarray(state.following), stack - 1, axis=1 + self._axis(state.following.shape[1:]))
        newest = chosen(~there, following[index % streams], newest)
        seen, after = frames[:, :stack], m.concatenate([frames[:, 1:stack], newest[:, None]], axis=1)
        row = jax.tree.map(lambda leaf: leaf[:, stack - 1], kept.rest)
        return row._replace(observation=self._back(state, seen), next_observation=self._back(state, after))

    def ring(self, state: FramesState) -> ReplayState:
        """Where the rows are."""
        return state.ring

    def spare(self, state: FramesState) -> int:
        """How many of the oldest blocks are not to be drawn: their own stacks may reach back beyond the newest row."""
        return self._lending(state.ring.block, len(state.following))

    def shared(self, state: FramesState) -> bool:
        """All."""
        return True

    def _lending(self, block: int, streams: int) -> int:
        return -(-(self.stack - 1) * streams // block)

    def _axis(self, shape: tuple[int, ...]) -> int:
        """Along which axis of an observation its frames lie."""
        return 0 if shape[0] == self.stack else len(shape) - 1

    def _first(self, observation: Array) -> Array:
        """Observations `[N, ...]` as `[N, stack, ...]`."""
        return jnp.moveaxis(observation, 1 + self._axis(observation.shape[1:]), 1)

    def _back(self, state: FramesState, stacks: Array) -> Array:
        """The inverse of `_first`."""
        return state.ring.module.moveaxis(stacks, 1, 1 + self._axis(state.following.shape[1:]))
