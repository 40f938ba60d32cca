"""How long `agent.act` takes on one observation, in microseconds: python benchmarks/latency.py

Each row is one policy with two layers of 64: the median and the 95th percentile over `--calls` calls. The last row is
the least that any compiled program takes. Nothing is trained: what a policy has learned changes no time.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

import operant
from operant.core import runtime
from operant.parts.networks import MLP


def timed(call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """Median and 95th percentile, in microseconds."""
    for _ in range(200):
        call()
    taken = np.empty(calls)
    for k in range(calls):
        begun = time.perf_counter()
        call()
        taken[k] = time.perf_counter() - begun
    median, high = np.percentile(taken, [50, 95]) * 1e6
    return float(median), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    runtime.prepare()
    print("| call | median, µs | 95th percentile, µs |\n| --- | --- | --- |")
    for name, algorithm in (("CartPole-v1", "ppo"), ("CartPole-v1", "dqn"), ("Pendulum-v1", "ppo")):
        environment = gymnasium.make(name)
        observation, _ = environment.reset(seed=0)
        network = MLP((64, 64), "tanh")
        agent = operant.Learner(algorithm, environment, network=network).agent
        rows = {
            f"{algorithm} on {name}: agent.act": lambda a=agent, x=observation: a.act(x),
            f"{algorithm} on {name}: agent.act(explore=True)": lambda a=agent, x=observation: a.act(x, explore=True),
        }
        for told, call in rows.items():
            print("| {} | {:.1f} | {:.1f} |".format(told, *timed(call, calls)), flush=True)
    add = jax.jit(lambda x: x + 1)
    zeros = np.zeros((1, 4), np.float32)
    floor = timed(lambda: np.asarray(add(zeros)), calls)
    print("| the least that JAX takes: a compiled x + 1, NumPy in and out | {:.1f} | {:.1f} |".format(*floor))


if __name__ == "__main__":
    main()
