"""Tianshou's side of the speed comparison: its trainer on one Gymnasium environment, as its users run it.

A repetition trains a new agent from scratch after the warm-up's random steps; nothing is evaluated or logged. Torch
runs on one thread, which is faster than its default on networks this small.
"""

from functools import partial
from typing import Any

import gymnasium
import torch
from protocol import Repetition, Run, serve
from tianshou.algorithm.algorithm_base import OffPolicyAlgorithm
from tianshou.algorithm.modelfree.c51 import C51Policy
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.rainbow import RainbowDQN
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, PrioritizedVectorReplayBuffer, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import NoisyLinear


def learner(settings: dict[str, Any], environment: gymnasium.Env) -> tuple[OffPolicyAlgorithm, Any]:
    """The algorithm and its replay."""
    shape, actions = environment.observation_space.shape, environment.action_space.n
    spaces = {"action_space": environment.action_space, "observation_space": environment.observation_space}
    common = {
        "optim": AdamOptimizerFactory(lr=settings["learning_rate"]),
        "gamma": settings["discount"],
        "target_update_freq": settings["target_every"] // settings["train_every"],
    }
    if settings["algorithm"] == "rainbow":
        atoms = {"num_atoms": settings["num_atoms"]}
        stream = {"hidden_sizes": [64], "linear_layer": partial(NoisyLinear, noisy_std=0.5)}
        network = Net(
            state_shape=shape,
            action_shape=actions,
            hidden_sizes=[64],
            softmax=True,
            dueling_param=(stream, stream),
            **atoms,
        )
        policy = C51Policy(model=network, v_min=settings["v_min"], v_max=settings["v_max"], **atoms, **spaces)
        replay = PrioritizedVectorReplayBuffer(settings["capacity"], 1, alpha=0.6, beta=0.4, weight_norm=True)
        return RainbowDQN(policy=policy, n_step_return_horizon=settings["n_step"], **common), replay
    network = Net(state_shape=shape, action_shape=actions, hidden_sizes=[64, 64])
    policy = DiscreteQLearningPolicy(model=network, eps_training=0.05, **spaces)
    return DQN(policy=policy, is_double=False, **common), VectorReplayBuffer(settings["capacity"], 1)


def trainer(settings: dict[str, Any], seed: int, steps: int) -> Repetition:
    torch.manual_seed(seed)
    environments = DummyVectorEnv([lambda: gymnasium.make(settings["environment"])])
    environments.seed(seed)
    algorithm, replay = learner(settings, gymnasium.make(settings["environment"]))
    collector = Collector(algorithm, environments, replay, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=settings["warm_up"], random=True)
    every = settings["train_every"]
    params = OffPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=steps,
        collection_step_num_env_steps=every,
        update_step_num_gradient_steps_per_sample=1 / every,
        batch_size=settings["batch_size"],
        show_progress=False,
        verbose=False,
    )

    def repetition() -> int:
        algorithm.run_training(params)
        return steps

    return repetition


def build(settings: dict[str, Any]) -> tuple[float, Run]:
    torch.set_num_threads(1)
    trainer(settings, 0, 256)()
    return 0.0, lambda seed: trainer(settings, seed, settings["steps"])


if __name__ == "__main__":
    serve(build, ("tianshou", "torch", "gymnasium"))
