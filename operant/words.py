"""Other libraries' words for what Operant calls differently, and what our own words mean.

Whoever comes from another library types its words first; the answer is ours, not a list of everything.
"""

import difflib
from collections.abc import Callable, Iterable

from operant.errors import OperantError

# Their word -> ours; a dot leads into a part. Hyphens and underscores are the same.
WORDS = {
    "gamma": "discount",
    "discount_factor": "discount",
    "lr": "learning_rate",
    "step_size": "learning_rate",
    "alpha": "learning_rate",
    "total_timesteps": "steps",
    "timesteps": "steps",
    "num_timesteps": "steps",
    "max_steps": "steps",
    "n_envs": "num_envs",
    "envs": "num_envs",
    "n_seeds": "num_seeds",
    "n_steps": "num_steps",
    "rollout_length": "num_steps",
    "train_freq": "num_steps",
    "train_frequency": "num_steps",
    "n_epochs": "num_epochs",
    "epochs": "num_epochs",
    "update_epochs": "num_epochs",
    "n_minibatches": "num_minibatches",
    "gradient_steps": "num_updates",
    "ent_coef": "entropy_coefficient",
    "vf_coef": "value_coefficient",
    "value_coef": "value_coefficient",
    "clip_range": "clip",
    "clip_coef": "clip",
    "clip_eps": "clip",
    "max_grad_norm": "max_gradient_norm",
    "lam": "gae_lambda",
    "lambda": "gae_lambda",
    "buffer_size": "replay.capacity",
    "replay_size": "replay.capacity",
    "learning_starts": "warmup",
    "target_update_interval": "target_every",
    "target_network_frequency": "target_every",
    "minibatch_size": "batch_size",
    "epsilon": "exploration.epsilon",
    "exploration_fraction": "exploration.epsilon",
    "exploration_final_eps": "exploration.epsilon",
    "temperature": "exploration.temperature",
    "net_arch": "network.hidden",
    "hidden": "network.hidden",
    "activation": "network.activation",
    "adam_eps": "optimiser.eps",
    "optimizer": "optimiser",
    "normalize": "normalise",
    "env": "environment",
    "env_id": "environment",
    "env_backend": "backend",
    "n_eval_episodes": "episodes",
    "output": "out",
    "log_dir": "out",
    "save_path": "out",
}

# What a field means where its own file does not say.
MEANINGS = {
    "learning_rate": "step size of the optimiser; may follow a schedule",
    "discount": "what a reward one step later is worth now, in [0, 1]",
    "gae_lambda": "generalised advantage estimation: 0 is one-step TD, 1 is the Monte-Carlo return",
    "clip": "how far the probability ratio may leave 1",
    "entropy_coefficient": "weight of the entropy bonus",
    "value_coefficient": "weight of the critic's loss",
    "max_gradient_norm": "gradients are scaled down to this global norm",
    "target_kl": "leave a window's remaining updates once the policy has moved this far",
    "num_steps": "steps of each environment in one window",
    "num_epochs": "passes over each window",
    "num_minibatches": "equal parts that a pass cuts the window into",
    "normalise": "what is scaled by running statistics",
    "network": "the kind of network",
    "optimiser": "the kind of optimiser",
    "exploration": "the rule that chooses actions while training",
    "replay": "the kind of replay",
    "bootstrap": "how the next state's value is taken",
    "target_every": "environment steps between copies to the target network",
    "warmup": "environment steps before the first update",
    "num_updates": "gradient steps after each window",
    "batch_size": "transitions in a minibatch",
    "huber_threshold": "errors beyond it count linearly",
    "baseline": "subtract the other episodes' mean return",
    "epsilon": "probability of a uniformly random action",
    "capacity": "transitions that the replay holds",
    "hidden": "widths of the fully connected layers",
    "activation": "tanh, relu, elu, gelu or silu",
    "initialisation": "orthogonal or uniform",
}


def unknown_word(
    kind: str, word: str, known: Iterable[str], show: Callable[[str], str] = repr, advice: str = ""
) -> OperantError:
    """The error for `word`, which is none of `known`: our word for it, the nearest one, or `advice`.

    `show` writes a name as the user would type it.
    """
    plain, known = word.replace("-", "_"), list(known)
    ours = WORDS.get(plain)
    if ours in known:
        return OperantError(f"unknown {kind} {show(word)}: Operant calls it {show(ours)}")
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    meant = f"did you mean {show(near[0])}?" if near else advice or "known: " + ", ".join(map(show, sorted(known)))
    return OperantError(f"unknown {kind} {show(word)}: {meant}")
