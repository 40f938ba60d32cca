"""Blackjack by Monte-Carlo control, its loop written out: Sutton & Barto 2018, section 5.4, beside the library's own.

python examples/tabular/monte_carlo_blackjack.py [EPISODES]
"""

import sys

import gymnasium
import numpy as np


def monte_carlo(environment, episodes, epsilon=0.1, discount=1.0, seed=0):
    """Action values `[32, 11, 2, 2]` by the player's sum, the dealer's card, a usable ace, and stick or hit."""
    rng = np.random.default_rng(seed)
    q, n = np.zeros((2, 32, 11, 2, 2))
    for number in range(episodes):
        # Play one whole episode with the epsilon-greedy policy of the values so far.
        state, _ = environment.reset(seed=seed if number == 0 else None)
        steps, ended = [], False
        while not ended:
            if rng.random() < epsilon:
                action = int(rng.integers(2))
            else:
                action = int(rng.choice(np.flatnonzero(q[state] == q[state].max())))
            following, reward, terminated, truncated, _ = environment.step(action)
            steps.append((state, action, reward))
            state, ended = following, terminated or truncated
        # Backwards: G is the return from each step on, and counts at the first visit of its state and action.
        g = 0.0
        for t in reversed(range(len(steps))):
            state, action, reward = steps[t]
            g = reward + discount * g
            if (state, action) not in [step[:2] for step in steps[:t]]:
                entry = (*state, action)
                n[entry] += 1
                q[entry] += (g - q[entry]) / n[entry]
    return q


def mean_return(environment, q, episodes, seed=1):
    """What the greedy policy earns a game."""
    total = 0.0
    for number in range(episodes):
        state, _ = environment.reset(seed=seed if number == 0 else None)
        ended = False
        while not ended:
            state, reward, terminated, truncated, _ = environment.step(int(q[state].argmax()))
            total, ended = total + reward, terminated or truncated
    return total / episodes


if __name__ == "__main__":
    episodes = int(sys.argv[1]) if sys.argv[1:] else 200_000
    game = gymnasium.make("Blackjack-v1")
    values = monte_carlo(game, episodes)
    earned = mean_return(game, values, 10_000)
    print(f"after {episodes} episodes the greedy policy earns {earned:.3f} a game; the best earns -0.047")
    print("no usable ace; columns: the dealer's ace to 10; S sticks, h hits")
    for total in range(21, 11, -1):
        print(total, "".join("Sh"[values[total, dealer, 0].argmax()] for dealer in range(1, 11)))
