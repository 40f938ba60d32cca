"""Stable-Baselines3's side of `mujoco_ppo.py`: PPO with the settings of Operant's preset, trained and evaluated once.

    python sb3_learner.py ENVIRONMENT STEPS SEED EPISODES

Prints one JSON object: the returns of greedy episodes, and the seconds of training. Evaluation freezes the normalisers.
"""

import json
import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize


def main(environment: str, steps: int, seed: int, episodes: int) -> None:
    torch.set_num_threads(1)
    normalised = VecNormalize(make_vec_env(environment, 8, seed=seed))
    model = PPO(
        "MlpPolicy",
        normalised,
        learning_rate=lambda remaining: 3e-4 * remaining,
        n_steps=256,
        batch_size=64,
        n_epochs=10,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.0,
        vf_coef=0.25,
        max_grad_norm=0.5,
        policy_kwargs={"log_std_init": -0.5, "net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
        seed=seed,
        device="cpu",
    )
    begun = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - begun
    fresh = VecNormalize(make_vec_env(environment, 8, seed=seed + 10_000), training=False, norm_reward=False)
    fresh.obs_rms = normalised.obs_rms
    returns, _ = evaluate_policy(model, fresh, episodes, deterministic=True, return_episode_rewards=True)
    print(json.dumps({"returns": [float(each) for each in returns], "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
