"""Learning from a replay whose rows are in the host's memory: programs, and NumPy between them.

    for each iteration:
    1.    a program makes rows of the window's steps, and they are written over the oldest
    2.    as often as there are updates:
    3.        a program draws, NumPy reads what was drawn, and a program learns from it
    4.    where its time has come, the target network becomes the online one

This is what `ReplayQ.learn` does in one program, with the same keys. Its bits may differ: XLA fuses, and so rounds, the
operations of an update as it likes in each program. Rows and draws do not, for the same parameters and priorities.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, Clock, Context, Spec, Window
from operant.parts.replay.host_memory import laid_out, outlined, settled


class InParts:
    """`learn` of a `ReplayQ`, called in Python; `contracts.Divisible` says how."""

    def __init__(self, spec: Spec):
        self._spec = spec
        self._absorb = jax.jit(self._absorbed, donate_argnums=1)
        self._draw = jax.jit(self._drawn)
        self._descend = jax.jit(self._descended, donate_argnums=1)
        self._means = jax.jit(lambda learner, totals, warm: learner._means(totals, warm))
        self._nothing: dict[str, Any] = {}  # what no update adds up to

    def __call__(self, learner: Any, state: Any, window: Window, key: Array, clock: Clock) -> tuple[Any, dict]:
        warm, crossed = learner._due(clock, window.steps.reward.size)
        totals = self._nothing = self._nothing or self._zeros(learner, state, key, clock)
        # 1.
        bare = state._replace(policy=(), target=(), optimiser=())
        told, keys = self._absorb(learner, outlined(bare), window, key)
        network, moments, replay = state.policy, state.optimiser, settled(told.replay, state.replay)
        # 2.
        for one in keys if warm else ():
            # 3.
            draw = self._draw(learner, outlined(replay), one, clock)
            read = learner._read(replay, np.asarray(draw.index), self._spec)
            used, known = (moments, outlined(replay)), (network, state.target, totals, draw, read)
            (network, moments, weighed), totals = self._descend(learner, used, known, one, clock)
            replay = settled(weighed, replay)
        # 4. In buffers of its own, like every part of a state.
        target = jax.tree.map(jnp.copy, network) if crossed else state.target
        return type(state)(network, target, moments, replay, told.carried), self._means(learner, totals, warm)

    def _absorbed(self, learner: Any, bare: Any, window: Window, key: Array) -> tuple[Any, tuple[Array, ...]]:
        return learner.absorb(bare, window), tuple(learner._keys(key)[: learner.num_updates])

    def _drawn(self, learner: Any, replay: Any, key: Array, clock: Clock) -> Any:
        return learner._draw(replay, key, Context(self._spec, clock))

    def _descended(self, learner: Any, used: tuple, known: tuple, key: Array, clock: Clock) -> tuple[tuple, dict]:
        network, target, totals, draw, read = known
        learned, metrics = learner._descend((network, *used), target, draw, read, key, Context(self._spec, clock))
        return learned, jax.tree.map(jnp.add, totals, metrics)

    def _zeros(self, learner: Any, state: Any, key: Array, clock: Clock) -> dict[str, Any]:
        def update(replay: Any) -> Any:
            known = (state.policy, state.optimiser, laid_out(replay, jnp)), state.target, key
            return learner._update(*known, Context(self._spec, clock))[1]

        metrics = jax.eval_shape(update, outlined(state.replay))
        return jax.tree.map(lambda metric: np.zeros(metric.shape, np.float32), metrics)
