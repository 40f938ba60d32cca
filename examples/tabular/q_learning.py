"""Q-learning on the cliff, its loop written out: Sutton & Barto 2018, section 6.5, beside the library's own.

python examples/tabular/q_learning.py [EPISODES]
"""

import sys

import gymnasium
import numpy as np


def q_learning(environment, episodes, alpha=0.5, discount=1.0, epsilon=0.1, seed=0):
    """Action values `[S, A]` and the return of every episode."""
    rng = np.random.default_rng(seed)
    q = np.zeros((environment.observation_space.n, environment.action_space.n))
    returns = np.zeros(episodes)
    for episode in range(episodes):
        state, _ = environment.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            # Choose A from S: epsilon-greedy, equals at random.
            if rng.random() < epsilon:
                action = rng.integers(q.shape[1])
            else:
                action = rng.choice(np.flatnonzero(q[state] == q[state].max()))
            # Take A, observe R, S'.
            following, reward, terminated, truncated, _ = environment.step(action)
            # The value of S' is that of its best action; a terminal state has none, a cut episode goes on having one.
            target = reward + discount * (0.0 if terminated else q[following].max())
            q[state, action] += alpha * (target - q[state, action])
            state, ended = following, terminated or truncated
            returns[episode] += reward
    return q, returns


def greedy_path(q, width=12, start=36, goal=47):
    """The states that the greedy policy passes on the cliff's grid."""
    path = [start]
    while path[-1] != goal and len(path) < q.shape[0]:
        row, column = divmod(path[-1], width)
        step = [(-1, 0), (0, 1), (1, 0), (0, -1)][int(q[path[-1]].argmax())]
        path.append(int(np.clip(row + step[0], 0, 3)) * width + int(np.clip(column + step[1], 0, width - 1)))
    return path


if __name__ == "__main__":
    values, returns = q_learning(gymnasium.make("CliffWalking-v1"), int(sys.argv[1]) if sys.argv[1:] else 500)
    path = greedy_path(values)
    print(f"mean return of the last tenth of {len(returns)} episodes: {returns[-len(returns) // 10 :].mean():.1f}")
    print(f"greedy path, {len(path) - 1} steps: {path}")
