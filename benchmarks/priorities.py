"""What prioritised replay costs alone: drawing, gathering and updating a minibatch, beside uniform replay.

    python benchmarks/priorities.py [--capacity 1000000] [--batch 256] [--repeats 1000]

Rows are CartPole's transitions; the two take turns, each a loop of 50 minibatches in one program. The least of many
such short times counts: what else the machine does only adds to them.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp

from operant.core import runtime
from operant.parts.replay import Prioritised, Uniform
from operant.parts.replay.transitions import Transition

LOOPS = 50


def loop(replay: Any, batch: int) -> tuple[Any, Any]:
    """A full replay, and the program of `LOOPS` minibatches on it."""
    zero = jnp.float32(0)
    row = Transition(jnp.zeros(4), jnp.int32(0), zero, zero, jnp.zeros(4))
    state = replay.init(row, replay.capacity // 10)
    many = jax.tree.map(lambda leaf: jnp.zeros((replay.capacity // 10, *leaf.shape), leaf.dtype), row)
    push = jax.jit(replay.push, donate_argnums=0)
    for _ in range(10):
        state = push(state, many)

    def once(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, total = carry
        draw = replay.draw(state, jax.random.fold_in(jax.random.key(0), number), batch, 0.5)
        rows = replay.rows(state, draw.index)
        errors = jnp.abs(rows.reward + jnp.arange(batch) / batch)
        weights = 1.0 if draw.weights is None else draw.weights[:, None]
        return replay.update(state, draw, errors), total + jnp.sum(weights * rows.observation)

    def run(state: Any, first: int) -> tuple[Any, Any]:
        return jax.lax.fori_loop(first, first + LOOPS, once, (state, zero))

    return state, jax.jit(run, donate_argnums=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=1_000)
    options = parser.parse_args()
    runtime.prepare()
    sides = {"prioritised": Prioritised(options.capacity), "uniform": Uniform(options.capacity)}
    loops = {name: loop(replay, options.batch) for name, replay in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    states = {name: program(state, 0)[0] for name, (state, program) in loops.items()}
    for turn in range(1, options.repeats + 1):  # each time other rows
        for name, (_, program) in loops.items():
            begun = time.perf_counter()
            states[name] = jax.block_until_ready(program(states[name], turn * LOOPS))[0]
            seconds[name].append((time.perf_counter() - begun) / LOOPS)
    each = {name: min(found) * 1e6 for name, found in seconds.items()}
    print(", ".join(f"{name} {time:.0f} us" for name, time in each.items()), end=": ")
    print(f"{each['prioritised'] / each['uniform']:.2f}x")


if __name__ == "__main__":
    main()
