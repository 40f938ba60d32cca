"""SBX's side of the speed comparison: Stable-Baselines3's loop and replay, with networks and updates compiled by JAX.

A repetition trains a new model from scratch and nothing is evaluated or logged; SBX compiles its update when it first
learns, before anything is timed, and anew for no model of the same shapes.
"""

import time
from typing import Any

from protocol import Repetition, Run, serve
from sb3_words import dqn
from sbx import DQN
from stable_baselines3.common.env_util import make_vec_env


def model(settings: dict[str, Any], seed: int) -> DQN:
    return DQN("MlpPolicy", make_vec_env(settings["environment"], 1, seed=seed), **dqn(settings, seed))


def build(settings: dict[str, Any]) -> tuple[float, Run]:
    start = time.perf_counter()
    model(settings, 0).learn(settings["warm_up"] + 64)
    compile_seconds = time.perf_counter() - start

    def run(seed: int) -> Repetition:
        untrained = model(settings, seed)
        return lambda: untrained.learn(settings["steps"]).num_timesteps

    return compile_seconds, run


if __name__ == "__main__":
    serve(build, ("sbx-rl", "stable-baselines3", "jax", "gymnasium"))
