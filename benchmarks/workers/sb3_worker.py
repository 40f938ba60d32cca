"""Stable-Baselines3's side of the speed comparison: its own vectorised Gymnasium environments, as its users run it.

A repetition trains a new model from scratch and nothing is evaluated or logged. Torch runs on one thread, which
is faster than its default on networks this small.
"""

from typing import Any

import torch
from protocol import Repetition, Run, apart, serve
from sb3_contrib import TRPO
from sb3_words import dqn
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env


def model(settings: dict[str, Any], seed: int) -> BaseAlgorithm:
    common = {
        "learning_rate": settings["learning_rate"],
        "gamma": settings["discount"],
        "seed": seed,
        "device": "cpu",
    }
    if settings["algorithm"] != "dqn":
        environments = make_vec_env(settings["environment"], settings["num_envs"], seed=seed)
        if settings.get("apart"):
            apart.watch(environments, "step_wait")
        common |= {
            "env": environments,
            "n_steps": settings["num_steps"],
            "batch_size": settings["num_envs"] * settings["num_steps"] // settings["num_minibatches"],
            "policy_kwargs": {"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
        }
    if settings["algorithm"] == "ppo":
        return PPO("MlpPolicy", n_epochs=settings["num_epochs"], ent_coef=0.01, **common)
    if settings["algorithm"] == "trpo":
        return TRPO(
            "MlpPolicy",
            gae_lambda=settings["gae_lambda"],
            n_critic_updates=settings["num_epochs"],
            cg_max_steps=settings["num_products"],
            **common,
        )
    return DQN("MlpPolicy", make_vec_env(settings["environment"], 1, seed=seed), device="cpu", **dqn(settings, seed))


def build(settings: dict[str, Any]) -> tuple[float, Run]:
    torch.set_num_threads(1)

    def run(seed: int) -> Repetition:
        untrained = model(settings, seed)
        return lambda: untrained.learn(settings["steps"]).num_timesteps

    model(settings, 0).learn(min(settings["steps"], 2_048))  # torch's first calls allocate
    return 0.0, run


if __name__ == "__main__":
    serve(build, ("stable-baselines3", "sb3-contrib", "torch", "gymnasium"))
