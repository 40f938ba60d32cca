"""TD(lambda) on a random walk of 19 states, its loop written out: Sutton & Barto 2018, sections 12.2 and 12.5.

python examples/tabular/td_lambda.py [EPISODES]
"""

import sys

import numpy as np

STATES = 19
TRUE = np.arange(-STATES + 1, STATES, 2) / (STATES + 1)  # -0.9, -0.8, ..., 0.9


def td_lambda(episodes, alpha=0.1, decay=0.8, discount=1.0, dutch=True, seed=0):
    """State values `[S]` of walking left or right by chance: -1 beyond the left end, +1 beyond the right one."""
    rng = np.random.default_rng(seed)
    v = np.zeros(STATES)
    for _ in range(episodes):
        state, z, old = STATES // 2, np.zeros(STATES), 0.0
        terminated = False
        while not terminated:
            following = state + rng.choice((-1, 1))
            terminated = not 0 <= following < STATES
            reward = float(np.sign(following)) if terminated else 0.0
            value, next_value = v[state], 0.0 if terminated else v[following]
            error = reward + discount * next_value - value
            # Everybody who was visited lately learns from the error, less the longer ago it was.
            z *= discount * decay
            if dutch:
                z[state] += 1.0 - alpha * z[state]
                v += alpha * (error + value - old) * z
                v[state] -= alpha * (value - old)
                old = next_value
            else:
                z[state] += 1.0
                v += alpha * error * z
            state = following
    return v


def error(v):
    """Root mean square over the states."""
    return float(np.sqrt(np.mean((v - TRUE) ** 2)))


if __name__ == "__main__":
    number = int(sys.argv[1]) if sys.argv[1:] else 100
    for kind in (True, False):
        found = np.mean([error(td_lambda(number, dutch=kind, seed=seed)) for seed in range(20)])
        print(f"{'dutch' if kind else 'accumulating'} traces: error {found:.3f} after {number} episodes, 20 walks")
