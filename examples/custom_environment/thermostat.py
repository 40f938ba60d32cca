"""A problem of one's own: keep a room at its target temperature with a heater of at most 3 kW.

Nothing here knows Operant. The state is all that the next step depends on: the temperature, the target, the weather
and whether the window is open. The two ends mean different things: a frozen or overheated room is the end of the
problem (`terminated`), a day that is over is not (`truncated`): the room goes on having a value.
"""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

STEPS = 96  # a day in quarters of an hour
COLDEST, HOTTEST = 5.0, 35.0  # °C


class Thermostat(gymnasium.Env):
    """Reward: 1 at the target, falling to 0 at 5 °C from it, less a little for every kW."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012

    def __init__(self, price: float = 0.05, render_mode: str | None = None):
        self.price, self.render_mode = price, render_mode
        self.action_space = Box(0.0, 3.0, (1,), np.float32)  # kW
        self.observation_space = Dict(
            {
                "temperature": Box(-25.0, 60.0, (1,), np.float32),
                "target": Box(18.0, 22.0, (1,), np.float32),
                "outside": Box(-20.0, 15.0, (1,), np.float32),
                "window": Discrete(2),
            }
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # every random number comes from self.np_random, so that a seed means a day
        self.temperature = self.np_random.uniform(14.0, 24.0)
        self.target = self.np_random.uniform(18.0, 22.0)
        self.outside = self.np_random.uniform(-10.0, 10.0)
        self.window, self.time = 0, 0
        return self._observation(), {}

    def step(self, action):
        power = float(np.clip(action, 0.0, 3.0)[0])
        loss = 0.2 if self.window else 0.1
        self.temperature += loss * (self.outside - self.temperature) + 1.5 * power + self.np_random.normal(0.0, 0.1)
        self.outside = float(np.clip(self.outside + self.np_random.normal(0.0, 0.3), -20.0, 15.0))
        self.window = int(self.np_random.random() < (0.8 if self.window else 0.03))
        self.time += 1
        error = abs(self.temperature - self.target)
        reward = 1.0 - min(error, 5.0) / 5.0 - self.price * power
        terminated = not COLDEST < self.temperature < HOTTEST
        return self._observation(), reward, terminated, not terminated and self.time >= STEPS, {}

    def render(self):
        """A bar for the temperature, a line for the target: uint8 `[120, 80, 3]`."""
        picture = np.full((120, 80, 3), 245, np.uint8)
        row = int(np.clip(119 - 3 * self.temperature, 0, 119))
        picture[row:, 25:55] = (200, 70, 40) if not self.window else (70, 120, 200)
        picture[int(119 - 3 * self.target), 10:70] = 20
        return picture

    def _observation(self):
        numbers = {"temperature": self.temperature, "target": self.target, "outside": self.outside}
        return {name: np.array([value], np.float32) for name, value in numbers.items()} | {
            "window": np.int64(self.window)
        }


gymnasium.register("Thermostat-v0", Thermostat)
