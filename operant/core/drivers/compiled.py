"""The compiled driver: act, step and learn scanned in one program.

One iteration is one window and one `learn`; what is common to all programs of many members is `members`.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array

from operant.contracts import Algorithm, Clock, Context, Episodes, Online
from operant.core import keys
from operant.core.drivers.collecting import Carry, Collector
from operant.core.drivers.members import Members
from operant.environments.compiled import Compiled
from operant.errors import OperantError
from operant.parts.masks import stuck


class CompiledDriver(Members):
    """Trains members (one algorithm, or several of one structure) on a compiled environment, one seed each."""

    def __init__(
        self,
        algorithm: Algorithm | Sequence[Algorithm],
        environment: Compiled,
        num_envs: int,
        num_seeds: int = 1,
        batching: Literal["vmap", "map"] = "vmap",
        devices: Sequence[Any] | None = None,
    ):
        self.environment, self.num_envs = environment, num_envs
        super().__init__(algorithm, environment.spec(num_envs), num_seeds, batching, devices)
        window = self.members[0].window()
        if isinstance(window, Episodes) and self.spec.time_limit is None:
            raise OperantError(
                f"{environment.name} has no time limit, and whole episodes need one: "
                "env_kwargs max_steps_in_episode=100, for example"
            )
        self.episodic, self.online = isinstance(window, Episodes), isinstance(window, Online)
        self.length: int = self.spec.time_limit if self.episodic else window.length  # type: ignore[assignment]
        self.steps_per_iteration = self.length * num_envs
        self._collector = Collector(environment, self.spec, self.length)

    def _init(self, algorithm: Any, key: Array, given: Any) -> Carry:
        state = algorithm.init(keys.role(key, keys.INIT), self.spec)
        carry = self._collector.begin(algorithm, state.policy, key)._replace(state=state)
        return carry._replace(totals=self._zeros(algorithm, carry))

    def _learn(self, algorithm: Any, carry: Carry, iteration: Array, total: Array, given: Any) -> tuple:
        if self.online:
            return self._collector.online(algorithm, carry, iteration, total)
        (carry, window), metrics, ratios = self._window_and_learn(algorithm, carry, iteration, total)
        seen = window.steps.next_observation, window.steps.reward, stuck(self.spec, window)
        return (carry, seen), metrics, ratios

    def _window_and_learn(self, algorithm: Any, carry: Carry, iteration: Array, total: Array) -> tuple:
        context = Context(self.spec, Clock(iteration, jnp.minimum(iteration / total, 1.0)))
        collect = self._collector.episodes if self.episodic else self._collector.steps
        carry, window, ratios = collect(algorithm, carry, context)
        state, metrics = algorithm.learn(carry.state, window, keys.role(carry.key, keys.LEARN, iteration), context)
        return (carry._replace(state=state), window), metrics, ratios
