"""Updates per second of deep value learners, and what share of the machine's arithmetic they use.

    python benchmarks/updates.py [--markdown docs/results/updates.md]

For each learner with its own defaults, one environment and one update a step: updates in a second of training on
compiled CartPole and on MinAtar's Breakout, the most of three turns; the floating-point operations of one update, as
XLA counts them in its compiled program; and their rate as a share of what one product of two float32 matrices of
2,048 x 2,048 reaches here.
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from operant import catalogue
from operant.contracts import Clock, Context
from operant.core import runtime
from operant.core.drivers.compiled import CompiledDriver
from operant.environments import make
from operant.parts.networks import MinAtarCNN

LEARNERS = ("dqn", "c51", "qr-dqn", "iqn", "rainbow")
NETWORKS = {"CartPole-v1": None, "Breakout-MinAtar": MinAtarCNN()}
SIZE, UPDATES, TURNS = 2048, 1_000, 3


def peak() -> float:
    """Operations a second of the matrix product, the best of five."""
    a = jax.random.normal(jax.random.key(0), (SIZE, SIZE))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    jax.block_until_ready(product(a))
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        jax.block_until_ready(product(a))
        best = min(best, time.perf_counter() - begun)
    return 2 * SIZE**3 / best


def learner(name: str, network: Any) -> Any:
    """The catalogue's, learning from the 1,000th step on, one update a step; on `network`, where it is not None."""
    entry = catalogue.find(name)
    algorithm = entry.make(**entry.composed, warmup=1_000, num_steps=1)
    if network is None:
        return algorithm
    return dataclasses.replace(algorithm, network=around(algorithm.network, network))


def around(recipe: Any, body: Any) -> Any:
    """The recipe with `body` in place of its innermost one."""
    inner = getattr(recipe, "body", None)
    return body if inner is None else dataclasses.replace(recipe, body=around(inner, body))


def measured(name: str, environment: str) -> tuple[float, float]:
    """Updates a second, and operations an update."""
    algorithm = learner(name, NETWORKS[environment])
    driver = CompiledDriver(algorithm, make(environment, backend="compiled"), 1)
    carry = driver.advance(driver.start(0), 0, 1_100, 10**6)
    jax.block_until_ready(carry)
    seconds = []
    for turn in range(TURNS):
        begun = time.perf_counter()
        carry = jax.block_until_ready(driver.advance(carry, 1_100 + turn * UPDATES, UPDATES, 10**6))
        seconds.append(time.perf_counter() - begun)
    speed = UPDATES / min(seconds)
    spec, key, clock = driver.spec, jax.random.key(0), Clock(jnp.int32(0), jnp.float32(0))

    def improve(state: Any, key: Any, clock: Clock) -> Any:
        return algorithm.improve(state, key, Context(spec, clock), 1)

    state = jax.eval_shape(lambda key: algorithm.init(key, spec), key)
    # XLA counts the body of a loop once: one update.
    return speed, jax.jit(improve).lower(state, key, clock).compile().cost_analysis()["flops"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    runtime.prepare()
    most = peak()
    lines = [
        "# Updates per second",
        "",
        f"`python benchmarks/updates.py` on {os.cpu_count()} cores, {jax.default_backend()}, jax {jax.__version__}. A",
        f"product of two float32 matrices of {SIZE} x {SIZE} reaches {most / 1e9:.0f} GFLOP/s. Minibatches of 128.",
        "",
        "| learner | environment | updates/s | MFLOP an update | GFLOP/s | of the product's |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for environment in NETWORKS:
        for name in LEARNERS:
            speed, operations = measured(name, environment)
            rate = speed * operations
            cells = f"{speed:,.0f}", f"{operations / 1e6:.1f}", f"{rate / 1e9:.1f}", f"{100 * rate / most:.0f} %"
            lines.append("| " + " | ".join((name, environment, *cells)) + " |")
            print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
