"""Prioritised experience replay: transitions that surprised are drawn more often (Schaul et al. 2016, section 3)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import PyTree
from operant.parts.component import check_range, component
from operant.parts.replay import sum_tree
from operant.parts.replay.storage import Storage, Whole
from operant.parts.replay.sum_tree import SumTree
from operant.parts.replay.uniform import Draw, Uniform
from operant.parts.schedules import Linear, Scalar, at

SMALLEST = 1e-6  # added to what a learner says of a row, so that no priority is zero


class PrioritisedState(NamedTuple):
    """The ring of transitions with a priority for each row."""

    ring: Any  # as the storage keeps it
    tree: SumTree  # of p^alpha
    highest: Array  # the largest p^alpha there was, 1 before any
    pushes: Array  # uint32: so far, modulo 2^32


@component
class Prioritised:
    """Replay of at least the last `capacity` transitions, drawn with probability P(i) = p_i^alpha / sum p_k^alpha.

    p is what the learner last said of a row, |error| + 1e-6; new rows have the highest that there was. A minibatch has
    one row from each of as many equal parts of the total. Importance weights (1 / (N P(i)))^beta, divided by the
    minibatch's largest, correct the bias, wholly where `beta` has come to 1 (Schaul et al. 2016, algorithm 1).
    """

    capacity: int
    alpha: float = 0.6  # 0 draws uniformly
    beta: Scalar = Linear(0.4, 1.0)
    storage: Storage = Whole()

    def check_ranges(self) -> None:
        check_range(self, 0, math.inf, "alpha")
        check_range(self, 0, 1, "beta")

    def init(self, example: PyTree, block: int, streams: int = 1) -> PrioritisedState:
        """An empty ring for transitions like `example`, as `Uniform`'s."""
        state = self._ring.init(example, block, streams)
        ring = self.storage.ring(state)
        tree = sum_tree.empty(ring.blocks * ring.block)
        return PrioritisedState(state, tree, jnp.ones(()), jnp.zeros((), jnp.uint32))

    def push(self, state: PrioritisedState, batch: PyTree) -> PrioritisedState:
        """Write `batch`, leaves `[block, ...]`, over the oldest block, with the highest priority."""
        ring, spare = self.storage.ring(state.ring), self.storage.spare(state.ring)
        tree = sum_tree.fill(state.tree, ring.cursor * ring.block, ring.block, state.highest)
        if spare:  # one more block is not to be drawn any longer
            oldest = (ring.cursor + spare) % ring.blocks
            tree = sum_tree.fill(tree, oldest * ring.block, ring.block, jnp.zeros(()))
        rows = self._ring.push(state.ring, batch)
        return state._replace(ring=rows, tree=tree, pushes=state.pushes + jnp.uint32(1))

    def draw(self, state: PrioritisedState, key: Array, batch_size: int, progress: Array | float) -> Draw:
        """`batch_size` rows by their priorities, in order of their index, with importance weights. Consumes `key`."""
        parts = (jnp.arange(batch_size) + jax.random.uniform(key, (batch_size,))) / batch_size
        index, found = sum_tree.find(state.tree, parts)
        # The largest importance weight is the least likely row's; divided by it, N and the total fall out.
        return Draw(index, _power(found / jnp.min(found), -at(self.beta, progress)), state.pushes)

    def rows(self, state: PrioritisedState, index: Array) -> PyTree:
        """The rows at `index` int32 `[...]`, leaves `[..., *shape]`."""
        return self._ring.rows(state.ring, index)

    def later(self, state: PrioritisedState, index: Array, count: Array | int) -> tuple[Array, Array]:
        """The index of the row pushed `count` rows after each of `index`, and whether there is one yet."""
        return self._ring.later(state.ring, index, count)

    def update(self, state: PrioritisedState, draw: Draw, priorities: Array) -> PrioritisedState:
        """Set p of `draw`'s rows to `priorities` `[batch]`, finite and not negative; overwritten rows keep theirs."""
        weights = _power(priorities + SMALLEST, self.alpha)
        ring, spare = self.storage.ring(state.ring), self.storage.spare(state.ring)
        since = (state.pushes - draw.pushes).astype(jnp.int32)
        # Blocks are overwritten in turn, beginning with the one that was next when the minibatch was drawn.
        turn = (draw.index // ring.block - (ring.cursor - since)) % ring.blocks
        kept = turn >= since + spare
        highest = jnp.maximum(state.highest, jnp.max(jnp.where(kept, weights, 0.0)))
        return state._replace(tree=sum_tree.assign(state.tree, draw.index, weights, kept), highest=highest)

    def size(self, state: PrioritisedState) -> Array:
        """How many rows are filled, int32."""
        return self._ring.size(state.ring)

    def shared(self, state: PrioritisedState) -> PyTree:
        """The storage's; priorities are each learner's own."""
        return PrioritisedState(self.storage.shared(state.ring), False, False, False)  # type: ignore[arg-type]

    @property
    def _ring(self) -> Uniform:
        return Uniform(self.capacity, self.storage)


def _power(base: Array, exponent: Array | float) -> Array:
    """`base ** exponent` of positive numbers, with all of them at once: XLA takes powers one by one."""
    return jnp.exp(exponent * jnp.log(base))
