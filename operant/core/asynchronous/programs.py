"""The two halves of an asynchronous learner as programs on one vector, which is what actors share."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from operant.contracts import Array, Asynchronous, Clock, Context, Ratio, Spec, Steps, Window
from operant.core import keys
from operant.core.drivers.loop import example_window
from operant.core.metrics import add, examine
from operant.errors import OperantError
from operant.parts.masks import stuck

ENDED = ("episode_return", "episode_length")


class Programs:
    """What every actor of a process runs, compiled once."""

    def __init__(self, algorithm: Asynchronous, spec: Spec):
        """`spec` is of the environments of all actors together. Raises `OperantError` where they do not fit."""
        self.whole, window = spec, algorithm.window()
        if spec.num_envs % algorithm.num_actors:
            least = spec.num_envs // algorithm.num_actors * algorithm.num_actors
            told = " or ".join(str(n) for n in (least, least + algorithm.num_actors) if n)
            raise OperantError(
                f"{spec.num_envs} environments cannot be shared equally by {algorithm.num_actors} actors: {told} can"
            )
        if not isinstance(window, Steps):
            raise OperantError(
                f"actors collect windows of so many steps, which {type(algorithm).__name__} does not want"
            )
        self.length = window.length
        self.spec = dataclasses.replace(spec, num_envs=spec.num_envs // algorithm.num_actors)
        template = jax.eval_shape(lambda: algorithm.init(keys.root(0), spec))
        empty, self._unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), template))
        self.size = empty.size
        self.gradient, self.apply = jax.jit(self._gradient), jax.jit(self._apply)
        self.policy = jax.jit(lambda values: self._unravel(values).policy)
        self.state, self.flat = jax.jit(self._unravel), jax.jit(lambda state: ravel_pytree(state)[0])
        halves = jax.eval_shape(lambda: self._metrics(algorithm, self._unravel(empty)))
        zeros = {name: Ratio(jnp.float32(0), jnp.float32(0)) for half in halves for name in half}
        self._zeros = tuple({name: zeros[name] for name in half} for half in (dict(halves[0]), dict(halves[1])))

    @property
    def names(self) -> list[str]:
        return [*self._zeros[0], *self._zeros[1], "staleness"]

    def fresh(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of nothing."""
        return tuple(np.zeros(2 * len(half), np.float32) for half in self._zeros)  # type: ignore[return-value]

    def totals(self, sums: tuple[np.ndarray, np.ndarray], staleness: Ratio) -> dict[str, Ratio]:
        """Sums as metrics by their names."""
        told = {"staleness": staleness}
        for zeros, row in zip(self._zeros, sums, strict=True):
            told |= jax.tree.unflatten(jax.tree.structure(zeros), list(row))
        return told

    def _metrics(self, algorithm: Any, state: Any) -> tuple[dict, dict]:
        context = Context(self.spec, Clock(jnp.int32(0), jnp.float32(0)))
        window = example_window(algorithm, state, self.spec, self.length)
        state, gradient, metrics = algorithm.gradient(state, window, keys.root(0), context)
        return metrics | dict.fromkeys(ENDED, jnp.float32(0)), algorithm.apply(state, gradient, context)[1]

    def _gradient(
        self, algorithm: Any, values: Array, window: Window, ratios: dict, key: tuple, clock: Clock, told: tuple
    ) -> tuple[Array, Any, tuple]:
        (sums, health), context = told, Context(self.spec, clock)
        state = self._unravel(values)
        state, gradient, metrics = algorithm.gradient(state, window, keys.role(key[0], keys.LEARN, key[1]), context)
        observed, rewards = window.steps.next_observation, window.steps.reward
        health = examine(health, clock.iteration, observed, rewards, metrics, (), stuck(self.spec, window))
        return ravel_pytree(state)[0], gradient, (sums + self._row(0, metrics | ratios), health)

    def _apply(self, algorithm: Any, values: Array, gradient: Any, clock: Clock, told: tuple) -> tuple[Array, tuple]:
        (sums, health), context = told, Context(self.spec, clock)
        state, metrics = algorithm.apply(self._unravel(values), gradient, context)
        health = examine(health, clock.iteration, (), (), metrics, state.policy)
        return ravel_pytree(state)[0], (sums + self._row(1, metrics), health)

    def _row(self, half: int, metrics: dict[str, Any]) -> Array:
        # As one vector: what a call of a program costs is its number of arrays.
        return jnp.stack(jax.tree.leaves(add(self._zeros[half], metrics)))
