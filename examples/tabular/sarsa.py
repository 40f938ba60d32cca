"""SARSA on the cliff, its loop written out: Sutton & Barto 2018, section 6.4, beside the library's own.

python examples/tabular/sarsa.py [EPISODES]
"""

import sys

import gymnasium
import numpy as np


def sarsa(environment, episodes, alpha=0.5, discount=1.0, epsilon=0.1, seed=0):
    """Action values `[S, A]` and the return of every episode."""
    rng = np.random.default_rng(seed)
    q = np.zeros((environment.observation_space.n, environment.action_space.n))
    returns = np.zeros(episodes)

    def choose(state):
        """Epsilon-greedy, equals at random."""
        if rng.random() < epsilon:
            return rng.integers(q.shape[1])
        return rng.choice(np.flatnonzero(q[state] == q[state].max()))

    for episode in range(episodes):
        state, _ = environment.reset(seed=seed if episode == 0 else None)
        action, ended = choose(state), False
        while not ended:
            # Take A, observe R, S'; choose A' before learning, for it is part of what is learned.
            following, reward, terminated, truncated, _ = environment.step(action)
            next_action = choose(following)
            # The value of S' is that of the action to be taken there, exploring included.
            target = reward + discount * (0.0 if terminated else q[following, next_action])
            q[state, action] += alpha * (target - q[state, action])
            state, action, ended = following, next_action, terminated or truncated
            returns[episode] += reward
    return q, returns


if __name__ == "__main__":
    values, returns = sarsa(gymnasium.make("CliffWalking-v1"), int(sys.argv[1]) if sys.argv[1:] else 500)
    print(f"mean return of the last tenth of {len(returns)} episodes: {returns[-len(returns) // 10 :].mean():.1f}")
    print("greedy actions, from the top row to the cliff's:")
    for row in values.argmax(axis=1).reshape(4, 12):
        print(" ".join("↑→↓←"[action] for action in row))
