"""A case's settings in Stable-Baselines3's words, which SBX shares."""

from typing import Any


def dqn(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Keywords of DQN, but for its policy and environment."""
    return {
        "learning_rate": settings["learning_rate"],
        "gamma": settings["discount"],
        "seed": seed,
        "train_freq": settings["train_every"],
        "gradient_steps": 1,
        "batch_size": settings["batch_size"],
        "buffer_size": settings["capacity"],
        "learning_starts": settings["warm_up"],
        "target_update_interval": settings["target_every"],
        "policy_kwargs": {"net_arch": [64, 64]},
    }
