"""Whether gymnax's MinAtar games, on which Operant's stand, do step by step what their authors' program does.

    python benchmarks/minatar.py [--steps 20000]

The authors' program plays random actions from random states, in an environment of its own; gymnax takes the same action
from the same state, and state, observation, reward and end must be equal. Freeway draws new speeds after each crossing,
by other random numbers: the steps of a crossing are compared without the cars. Exit code 1 where a step differs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from peers import HERE, interpreter

from operant.environments.minatar import GAMES

# What a game's state has in both programs; what it lacks here keeps the value of a fresh episode.
FIELDS = {
    "breakout": ("ball_y", "ball_x", "ball_dir", "pos", "brick_map", "strike", "last_y", "last_x"),
    "freeway": ("pos", "cars", "move_timer"),
    "space_invaders": (
        *("pos", "f_bullet_map", "e_bullet_map", "alien_map", "alien_dir", "enemy_move_interval"),
        *("alien_move_timer", "alien_shot_timer", "ramp_index", "shot_timer"),
    ),
}


def differences(game: str, make: type, steps: int) -> tuple[dict[str, int], int]:
    """How many steps differ, by what differs; and how many were paid."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "played.npz"
        command = [interpreter("minatar"), HERE / "workers" / "minatar_worker.py", game, str(steps), file]
        subprocess.run([*command, *FIELDS[game]], check=True)
        played = dict(np.load(file))
    environment = make(use_minimal_action_set=False)
    params, key = environment.default_params, jax.random.key(0)
    _, fresh = environment.reset_env(key, params)

    @jax.jit
    @jax.vmap
    def step(before: dict, action: jax.Array) -> tuple:
        typed = {name: jnp.asarray(value, jnp.asarray(getattr(fresh, name)).dtype) for name, value in before.items()}
        observation, state, reward, terminated, _ = environment.step_env(key, fresh.replace(**typed), action, params)
        return {name: getattr(state, name) for name in before}, observation, reward, terminated

    before = {name: played[f"before_{name}"] for name in FIELDS[game]}
    state, observation, reward, terminated = jax.tree.map(np.asarray, step(before, played["action"]))
    pairs = {name: (value, played[f"after_{name}"]) for name, value in state.items()}
    pairs |= {"observation": (observation, played["observation"]), "reward": (reward, played["reward"])}
    pairs["terminated"] = terminated, played["terminal"]
    paid = played["reward"] > 0
    wrong = {}
    for name, (ours, theirs) in pairs.items():
        differ = (np.float64(ours) != np.float64(theirs)).reshape(steps, -1).any(axis=1)
        drawn = game == "freeway" and name in ("cars", "observation", "pos")
        wrong[name] = int((differ & ~paid if drawn else differ).sum())
    return {name: count for name, count in wrong.items() if count}, int(paid.sum())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=20_000)
    steps = parser.parse_args().steps
    failed = False
    games = {"breakout": "Breakout", "freeway": "Freeway", "space_invaders": "SpaceInvaders"}
    for game, name in games.items():
        wrong, paid = differences(game, GAMES[f"MinAtar/{name}-v0"][0], steps)
        failed |= bool(wrong)
        told = ", ".join(f"{what} in {count}" for what, count in wrong.items()) or "all alike"
        print(f"{name}: {steps:,} steps, {paid:,} of them paid: {told}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
