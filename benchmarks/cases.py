"""What is measured: each case's settings, who runs it, for how many steps a repetition, and the ratio hoped for."""

from dataclasses import dataclass, field
from typing import Any

PPO = {
    "algorithm": "ppo",
    "environment": "CartPole-v1",
    "num_steps": 128,
    "num_epochs": 4,
    "num_minibatches": 4,
    "learning_rate": 2.5e-4,
    "discount": 0.99,
}
DQN = {
    "algorithm": "dqn",
    "environment": "CartPole-v1",
    "batch_size": 64,
    "capacity": 100_000,
    "target_every": 500,
    "warm_up": 128,
    "learning_rate": 2.5e-4,
    "discount": 0.99,
}
ATARI = {
    "environment": "ALE/Breakout-v5",
    "backend": "gymnasium",
    "batch_size": 32,
    "warm_up": 32,
}
RAINBOW = {
    **DQN,
    "algorithm": "rainbow",
    "train_every": 4,
    "num_atoms": 51,
    "v_min": -100.0,
    "v_max": 100.0,
    "n_step": 3,
}
TRPO = {
    "algorithm": "trpo",
    "environment": "CartPole-v1",
    "num_envs": 8,
    "num_steps": 128,
    "num_epochs": 10,
    "num_minibatches": 8,
    "num_products": 15,
    "learning_rate": 1e-3,
    "discount": 0.99,
    "gae_lambda": 0.95,
}
CHEETAH = {
    **PPO,
    "environment": "HalfCheetah-v5",
    "backend": "gymnasium",
    "num_envs": 8,
    "num_steps": 256,
    "num_epochs": 10,
    "num_minibatches": 32,
}


@dataclass(frozen=True)
class Entry:
    """One side of a comparison. `target`: how many times its speed the case's first entry is to reach."""

    label: str
    worker: str
    steps: int
    settings: dict[str, Any] = field(default_factory=dict)
    target: float | None = None


@dataclass(frozen=True)
class Case:
    """The first entry is the one whose speed is divided by that of each other."""

    title: str
    settings: dict[str, Any]
    entries: tuple[Entry, ...]


CASES = {
    "ppo-8": Case(
        "PPO, CartPole-v1, 8 environments × 128 steps, 4 epochs × 4 minibatches",
        {**PPO, "num_envs": 8},
        (
            Entry("Operant", "operant", 524_288),
            Entry("Rejax", "rejax", 524_288, target=1.2),
            Entry("Stable-Baselines3", "sb3", 40_960, target=18),
        ),
    ),
    "ppo-64": Case(
        "PPO, CartPole-v1, 64 environments × 128 steps, 4 epochs × 4 minibatches",
        {**PPO, "num_envs": 64},
        (
            Entry("Operant", "operant", 1_048_576),
            Entry("Rejax", "rejax", 524_288, target=1.6),
            Entry("Stable-Baselines3", "sb3", 122_880),
        ),
    ),
    "dqn-4": Case(
        "DQN, CartPole-v1, an update of 64 every 4 steps, replay 100k",
        {**DQN, "train_every": 4},
        (
            Entry("Operant", "operant", 100_000),
            Entry("Rejax", "rejax", 12_000),
            Entry("Stable-Baselines3", "sb3", 10_000, target=12),
            Entry("SBX", "sbx", 10_000),
            Entry("Tianshou", "tianshou", 4_000),
        ),
    ),
    "dqn-minatar": Case(
        "DQN, MinAtar's Breakout as gymnax has it, flat, an update of 64 every 4 steps, replay 100k",
        {**DQN, "environment": "Breakout-MinAtar", "train_every": 4},
        (
            Entry("Operant", "operant", 40_000),
            Entry("Rejax", "rejax", 8_000, target=3),
        ),
    ),
    "rainbow": Case(
        "Rainbow, CartPole-v1, 51 atoms, 3 steps, an update of 64 every 4 steps, prioritised replay 100k",
        RAINBOW,
        (
            Entry("Operant", "operant", 20_000),
            Entry("Tianshou", "tianshou", 4_000),
        ),
    ),
    "dqn-1": Case(
        "DQN, CartPole-v1, an update of 64 every step, replay 100k",
        {**DQN, "train_every": 1},
        (
            Entry("Operant", "operant", 40_000),
            Entry("Rejax", "rejax", 4_000, target=6),
            Entry("Stable-Baselines3", "sb3", 4_000),
        ),
    ),
    "host-ppo-8": Case(
        "PPO on Gymnasium's CartPole-v1, 8 environments × 128 steps, 4 epochs × 4 minibatches",
        {**PPO, "num_envs": 8},
        (
            Entry("Operant, host driver", "operant", 81_920, {"backend": "gymnasium"}),
            Entry("Stable-Baselines3", "sb3", 40_960, target=2),
        ),
    ),
    "cheetah-8": Case(
        "PPO on Gymnasium's HalfCheetah-v5, 8 environments × 256 steps, 10 epochs × 32 minibatches (extra mujoco)",
        CHEETAH,
        (
            Entry("Operant, host driver", "operant", 8_192),
            Entry("Stable-Baselines3", "sb3", 8_192),
        ),
    ),
    "cheetah-8-apart": Case(
        "the same without the seconds in which the environments were stepped",
        {**CHEETAH, "apart": True},
        (
            Entry("Operant, host driver", "operant", 8_192),
            Entry("Stable-Baselines3", "sb3", 8_192, target=1.5),
        ),
    ),
    "trpo-8": Case(
        "TRPO, CartPole-v1, 8 environments × 128 steps, 15 products of the Fisher matrix, 10 epochs of the critic",
        TRPO,
        (
            Entry("Operant", "operant", 65_536),
            Entry("Operant, host driver", "operant", 32_768, {"backend": "gymnasium"}),
            Entry("sb3-contrib", "sb3", 16_384, target=5),
        ),
    ),
    "replay": Case(
        "DQN's speed against the replay's capacity (1 is flat: the buffer is written in place)",
        {**DQN, "train_every": 4},
        (
            Entry("capacity 1,000,000", "operant", 100_000, {"capacity": 1_000_000}),
            Entry("capacity 100,000", "operant", 100_000),
            Entry("capacity 10,000", "operant", 100_000, {"capacity": 10_000}, target=0.9),
        ),
    ),
    "prioritised": Case(
        "DQN with prioritised against uniform replay of a million, an update of 256 every step",
        {**DQN, "train_every": 1, "batch_size": 256, "capacity": 1_000_000},
        (
            Entry("prioritised", "operant", 20_000, {"replay": "prioritised"}),
            Entry("uniform", "operant", 20_000, target=0.67),
        ),
    ),
    "host-dqn": Case(
        "DQN on Gymnasium's CartPole-v1, an update of 64 every 4 steps, replay 100k: where its rows are",
        {**DQN, "backend": "gymnasium", "train_every": 4},
        (
            Entry("on the device", "operant", 8_000),
            Entry("in the host's memory", "operant", 8_000, {"memory": "host"}),
        ),
    ),
    "host-dqn-atari": Case(
        "DQN on ALE/Breakout-v5, an update of 32 every 4 steps, each frame kept once: where its rows are (extra atari)",
        {**DQN, **ATARI, "train_every": 4},
        (
            Entry("on the device", "operant", 200),
            Entry("in the host's memory", "operant", 200, {"memory": "host"}),
        ),
    ),
    "population": Case(
        "16 PPO agents with 16 learning rates in one program, 8 environments each, total steps",
        {**PPO, "num_envs": 8},
        (
            Entry("16 agents", "operant", 131_072, {"members": 16}),
            Entry("1 agent", "operant", 524_288, {"members": 1}, target=1.2),
        ),
    ),
    "wide": Case(
        "PPO, CartPole-v1, more and more environments × 128 steps (what an accelerator is for)",
        PPO,
        (
            Entry("4,096 environments", "operant", 4_194_304, {"num_envs": 4_096}),
            Entry("512 environments", "operant", 1_048_576, {"num_envs": 512}),
            Entry("64 environments", "operant", 131_072, {"num_envs": 64}),
        ),
    ),
}
