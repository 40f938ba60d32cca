"""SARSA over tiles on the mountain car, its loop written out: Sutton & Barto 2018, section 10.1.

python examples/tabular/mountain_car_tiles.py [EPISODES]
"""

import sys

import gymnasium
import numpy as np

TILINGS, BINS = 8, 8


def tiles(state, low, high):
    """The one tile of each tiling that holds `state`, as numbers: int `[TILINGS]`."""
    fine = np.floor((state - low) / (high - low) * BINS * TILINGS).astype(int)
    fine = np.clip(fine, 0, BINS * TILINGS - 1)
    tiling = np.arange(TILINGS)
    # Tiling k is displaced by k and 3 k eighths of a tile.
    rows, columns = (fine[0] + tiling) // TILINGS, (fine[1] + 3 * tiling % TILINGS) // TILINGS
    return (tiling * (BINS + 1) + rows) * (BINS + 1) + columns


def sarsa(environment, episodes, alpha=0.5, discount=1.0, seed=0):
    """The steps of each episode. Every step costs one, so that zero is optimistic and greedy actions explore."""
    rng = np.random.default_rng(seed)
    low, high = environment.observation_space.low, environment.observation_space.high
    w = np.zeros((environment.action_space.n, TILINGS * (BINS + 1) ** 2))
    lengths = []

    def choose(x):
        q = w[:, x].sum(axis=1)
        return int(rng.choice(np.flatnonzero(q == q.max())))

    for episode in range(episodes):
        state, _ = environment.reset(seed=seed if episode == 0 else None)
        x, ended, length = tiles(state, low, high), False, 0
        action = choose(x)
        while not ended:
            state, reward, terminated, truncated, _ = environment.step(action)
            following = tiles(state, low, high)
            next_action = choose(following)
            target = reward + discount * (0.0 if terminated else w[next_action, following].sum())
            # The gradient is 1 at the active tiles, so that the step is shared among them.
            w[action, x] += alpha / TILINGS * (target - w[action, x].sum())
            x, action, ended, length = following, next_action, terminated or truncated, length + 1
        lengths.append(length)
    return np.array(lengths)


if __name__ == "__main__":
    episodes = int(sys.argv[1]) if sys.argv[1:] else 200
    lengths = sarsa(gymnasium.make("MountainCar-v0", max_episode_steps=10_000), episodes)
    print(f"steps of {episodes} episodes, means of tenths:")
    print(" ".join(f"{part.mean():.0f}" for part in np.array_split(lengths, min(10, episodes))))
