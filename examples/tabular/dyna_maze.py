"""Dyna-Q in the book's maze, its loop written out: Sutton & Barto 2018, section 8.2, beside the library's own.

python examples/tabular/dyna_maze.py [EPISODES]
"""

import sys

import numpy as np

MAZE = (".......#G", "..#....#.", "S.#....#.", "..#......", ".....#...", ".........")
MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # up, down, right, left
START, GOAL = (2, 0), (0, 8)


def step(state, action):
    """The next cell and the reward: walls and the edge leave one where one is."""
    row, column = state[0] + MOVES[action][0], state[1] + MOVES[action][1]
    inside = 0 <= row < len(MAZE) and 0 <= column < len(MAZE[0])
    following = (row, column) if inside and MAZE[row][column] != "#" else state
    return following, float(following == GOAL)


def dyna_q(episodes, planning_steps, alpha=0.1, discount=0.95, epsilon=0.1, seed=0):
    """The steps of each episode."""
    rng = np.random.default_rng(seed)
    q = np.zeros((len(MAZE), len(MAZE[0]), len(MOVES)))
    model, lengths = {}, []

    def improve(state, action, reward, following):
        # One step of Q-learning; nothing follows the goal.
        target = reward + discount * (0.0 if following == GOAL else q[following].max())
        q[(*state, action)] += alpha * (target - q[(*state, action)])

    for _ in range(episodes):
        state, length = START, 0
        while state != GOAL:
            if rng.random() < epsilon:
                action = int(rng.integers(len(MOVES)))
            else:
                action = int(rng.choice(np.flatnonzero(q[state] == q[state].max())))
            following, reward = step(state, action)
            improve(state, action, reward, following)
            # The model remembers what happened; planning is learning from what it tells.
            model.setdefault(state, {})[action] = reward, following
            seen = list(model)
            for _ in range(planning_steps):
                there = seen[rng.integers(len(seen))]
                tried = list(model[there])[rng.integers(len(model[there]))]
                improve(there, tried, *model[there][tried])
            state, length = following, length + 1
        lengths.append(length)
    return np.array(lengths)


if __name__ == "__main__":
    episodes = int(sys.argv[1]) if sys.argv[1:] else 40
    print(f"steps of each of {episodes} episodes, mean of 5 runs; the shortest way has 14")
    for n in (0, 5, 50):
        curve = np.mean([dyna_q(episodes, n, seed=seed) for seed in range(5)], axis=0)
        print(f"{n} planning steps:", " ".join(f"{length:.0f}" for length in curve))
