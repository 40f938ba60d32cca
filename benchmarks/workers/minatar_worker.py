"""MinAtar's own side of `minatar.py`: plays random actions from random states and stores what came of each.

    python minatar_worker.py GAME STEPS FILE FIELD ...

FILE is an npz with `action`, `reward`, `terminal`, `observation` (after the step), and before and after it each FIELD
of the game's state.
"""

import sys
from importlib import import_module

import numpy as np

LONGEST = 60  # steps before the next random state


def scatter(game: str, env, rng: np.random.RandomState) -> None:
    """Put a game that was just reset into a random state."""
    if game == "breakout":
        env.brick_map[1:4] = rng.rand(3, 10) < rng.rand()
        env.ball_y, env.ball_x, env.ball_dir, env.pos = rng.randint(1, 9), *rng.randint(10, size=3)
        env.ball_dir %= 4
        env.last_y, env.last_x = env.ball_y, env.ball_x
    elif game == "freeway":
        env.pos, env.move_timer = rng.randint(1, 10), rng.randint(4)
        for car in env.cars:
            car[0], car[2] = rng.randint(10), rng.randint(abs(car[3]) + 1)
    else:
        env.alien_map = (rng.rand(10, 10) < 0.3 * rng.rand()) * 1.0
        env.alien_map[rng.randint(9), rng.randint(10)] = 1
        env.f_bullet_map, env.e_bullet_map = (rng.rand(2, 10, 10) < 0.1) * 1.0
        env.pos, env.alien_dir, env.enemy_move_interval = rng.randint(10), rng.choice([-1, 1]), rng.randint(6, 13)
        env.alien_move_timer, env.alien_shot_timer, env.shot_timer = rng.randint(4), rng.randint(11), rng.randint(6)


def main(game: str, steps: int, file: str, fields: list[str]) -> None:
    rng = np.random.RandomState(0)
    env = import_module(f"minatar.environments.{game}").Env()
    env.random = rng
    rows: dict[str, list] = {}
    age = LONGEST
    for _ in range(steps):
        if env.terminal or age >= LONGEST:
            env.reset()
            scatter(game, env, rng)
            age = 0
        before = {f"before_{name}": np.array(getattr(env, name)) for name in fields}
        action = rng.randint(6)
        reward, terminal = env.act(action)
        after = {f"after_{name}": np.array(getattr(env, name)) for name in fields}
        outcome = {"action": action, "reward": reward, "terminal": terminal, "observation": np.array(env.state())}
        for name, value in {**before, **after, **outcome}.items():
            rows.setdefault(name, []).append(value)
        age += 1
    np.savez(file, **{name: np.stack(values) for name, values in rows.items()})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
