"""Environments whose steps take a given time, as a process that is spawned can import them."""

import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Waiting(gymnasium.Env):
    """CartPole's spaces, random observations, episodes of 100 steps; each step sleeps for `seconds`."""

    observation_space, action_space = Box(-1.0, 1.0, (4,)), Discrete(2)

    def __init__(self, seconds: float = 1e-3):
        self.seconds = seconds

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen(), {}

    def step(self, action):
        self.spend()
        self.time += 1
        return self.seen(), 1.0, False, self.time == 100, {}

    def spend(self) -> None:
        time.sleep(self.seconds)

    def seen(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)


class Computing(Waiting):
    """The same, but each step computes in Python until it has used `seconds` of a processor."""

    def spend(self) -> None:
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            sum(range(100))
