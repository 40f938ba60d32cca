"""Epochs of shuffled minibatches: a window turned into gradient steps."""

from collections.abc import Callable
from typing import Any

import jax

from operant.contracts import Array, PyTree
from operant.errors import OperantError
from operant.parts.permutation import permutation
from operant.parts.replay.packing import Packing


def check_minibatches(columns: int, num_minibatches: int, what: str = "steps x environments") -> None:
    """Raise `OperantError` where so many `columns` cannot be cut into equal minibatches, with numbers that would do."""
    if columns % num_minibatches:
        fitting = [n for n in range(1, columns + 1) if columns % n == 0]
        near = [max(n for n in fitting if n < num_minibatches), *(n for n in fitting if n > num_minibatches)][:2]
        raise OperantError(
            f"{columns} {what} cannot be cut into {num_minibatches} equal minibatches: "
            f"{' or '.join(map(str, near))} would do"
        )


def epochs(
    update: Callable[[Any, PyTree], tuple[Any, dict[str, Array]]],
    learner: Any,
    columns: PyTree,
    key: Array,
    num_epochs: int,
    num_minibatches: int,
) -> tuple[Any, dict[str, Array]]:
    """Scan `update(learner, minibatch) -> (learner, metrics)` over minibatches of `columns`, leaves `[C, ...]`.

    Each epoch uses every column once, in a new order; `num_minibatches` divides C. Returns the learner and the
    metrics of every update, `[num_epochs, num_minibatches]`. Consumes `key`.
    """
    packing = Packing.of(columns)
    packed = packing.pack(columns)
    count = jax.tree.leaves(columns)[0].shape[0]

    def epoch(learner: Any, key: Array) -> tuple[Any, dict[str, Array]]:
        order = permutation(key, count).reshape(num_minibatches, -1)
        minibatches = jax.tree.map(lambda rows: rows[order], packed)
        return jax.lax.scan(lambda carry, rows: update(carry, packing.unpack(rows)), learner, minibatches)

    return jax.lax.scan(epoch, learner, jax.random.split(key, num_epochs))
