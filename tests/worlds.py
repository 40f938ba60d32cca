"""Gymnasium environments that a spawned process can import: slow ones, and ones that fail as they are told."""

import os
import signal
import sys
import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

SPACE = Dict({"draw": Box(0, 1000, (2,)), "time": Discrete(99)})


class Slow(gymnasium.Env):
    """Sees two numbers of its generator and the time; every step takes `seconds` and pays the action."""

    observation_space, action_space = SPACE, Discrete(3)

    def __init__(self, seconds=0.0, length=4, fails=None):
        self.seconds, self.length, self.fails = seconds, length, fails

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen(), {"large": lambda: None}  # info that fits through no pipe

    def step(self, action):
        time.sleep(self.seconds)
        self.time += 1
        if self.fails == "raises" and self.time == 3:
            raise ValueError("too hot\nand more")
        if self.fails == "dies" and self.time == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        over = self.time >= self.length + int(action)
        return self.seen(), float(action), over and action != 1, over and action == 1, {"large": lambda: None}

    def seen(self):
        return {"draw": self.np_random.integers(1000, size=2).astype(np.float32), "time": self.time}


class Heavy(Slow):
    """Slow, in a single Box, with a limit: what the command line can train on."""

    observation_space = Box(0, 1000, (2,))

    def __init__(self, seconds=0.003, length=4, fails=None):
        super().__init__(seconds, length, fails)

    def seen(self):
        return super().seen()["draw"]


class Modules(Slow):
    """Sees whether its process has loaded JAX, and whether it has run the script anew."""

    observation_space = Box(0, 1, (2,))

    def seen(self):
        return np.float32(["jax" in sys.modules, hasattr(sys.modules["__main__"], "__file__")])


class Picky(gymnasium.Env):
    """Two of four actions are legal, 1 always, told in the info; another raises. Pays for the higher of the two."""

    observation_space, action_space = Box(-1, 1, (2,)), Discrete(4)

    def __init__(self, length=5, emptied=None):
        self.length, self.emptied = length, emptied  # the time at which the mask allows nothing

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen(), {"action_mask": self.mask()}

    def step(self, action):
        if action not in self.allowed:
            raise ValueError(f"{action} is not legal")
        paid = float(action == max(self.allowed))
        self.time += 1
        over = self.time >= self.length
        return self.seen(), paid, over, False, {} if over else {"action_mask": self.mask()}

    def seen(self):
        start = int(self.np_random.integers(2))
        self.allowed = (start, start + 1)
        return np.array([start - 1, 0], np.float32)

    def mask(self):
        mask = np.zeros(4, np.int8)
        if self.time != self.emptied:
            mask[list(self.allowed)] = 1
        return mask
