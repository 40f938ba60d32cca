"""Deep recurrent Q-networks: DQN with memory, for worlds of which only a part is seen.

Source: Hausknecht & Stone 2015, "Deep recurrent Q-learning for partially observable MDPs", with the stored state, the
burn-in and the priorities of Kapturowski et al. 2019 (R2D2), section 3.

    h_t, u_t = network(h_(t-1), o_t);  Q(h_t, .) = f^-1(u_t),  f(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x

    for each iteration:
    1.    act by the exploration rule for T steps in each environment; put into the replay, as one row for each, these
          steps, the last `burn_in` steps before them, and the memory h before the first of all
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch of rows; unroll both networks over the first `burn_in` steps from the stored h, each with
              its own parameters and without a gradient, and on over the T others
    4.        y_t = r_t + discount max_a' Q_target(h_(t+1), a'),  or r_t alone where o_(t+1) is terminal
    5.        descend the mean squared error_t = f(y_t) - u_t(a_t) over T, by back-propagation through those steps
    6.        the row's priority is  0.9 max_t |error_t| + 0.1 mean_t |error_t|
    7.    every `target_every` environment steps copy the online network to the target

All but 1. and 3. to 6. is shared with DQN and its relatives (`parts.values.replay_q`); `bootstrap`, `n_step`,
`Prioritised`, `Dueling` and `Noisy` are the same values of fields. `replay.capacity` and `batch_size` count rows, of T
steps each.

Deviations from R2D2: one learner acts and learns, with one exploration rule; a row runs on through the ends of
episodes, h being cleared there, in place of sequences that end with them; rows do not overlap in the steps that are
learned from; h_(t+1) is that of the true next observation after the network's own h_t, also at a truncated step; new
rows have the highest priority there was; by default one step, a uniform replay and no dueling streams; returns of
several steps stop at a row's end. From Hausknecht & Stone: h is stored instead of zero, values are rescaled (f; Pohlen
et al. 2018), a gated recurrent unit instead of an LSTM by default.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Spec, Window
from operant.equations import n_step_returns, squared, squash, unsquash
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.masks import restricted
from operant.parts.networks import GRU, Recipe
from operant.parts.networks.heads import Network, has_memory
from operant.parts.replay import Replay, Uniform
from operant.parts.replay.sequences import Batch, Sequence, example_of, minibatch, rows_of
from operant.parts.schedules import Scalar
from operant.parts.values.bootstraps import Bootstrap, Double
from operant.parts.values.replay_q import ReplayQ

ETA = 0.9  # how much of a row's priority is its largest error


@component
class DRQN(ReplayQ):
    learning_rate: Scalar = 1e-3
    bootstrap: Bootstrap = Double()
    rescale: bool = True  # f, the identity where false
    target_every: int = 2_000
    num_steps: int = 16
    burn_in: int = 8
    num_updates: int = 4
    batch_size: int = 32
    max_gradient_norm: float | None = 10.0
    replay: Replay = Uniform(4_000)
    network: Recipe = GRU()
    row: ClassVar[str] = "sequences"

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 0, self.num_steps, "burn_in")
        if not has_memory(self.network, spec.observation_space):
            raise OperantError("DRQN needs a network with memory, such as GRU: dqn serves those without")

    @property
    def outputs(self) -> int:
        return 1

    def start(self, policy: Network, key: Array, spec: Spec) -> Any:
        return policy.start(spec.num_envs)

    def _act(self, network: Network, memory: Any, features: Array) -> tuple[Any, Array]:
        memory, outputs = network(memory, features)
        return memory, self._unscaled(outputs)

    def _unscaled(self, outputs: Array) -> Array:
        """Q of what the network says."""
        return unsquash(outputs) if self.rescale else outputs

    def _example(self, network: Network, spec: Spec) -> tuple[Sequence, int, Any]:
        memory = jax.tree.map(lambda leaf: leaf[0], network.start(1))
        row, carried = example_of(memory, spec, self.num_steps, self.burn_in)
        return row, spec.num_envs, carried

    def _rows(self, window: Window, carried: Any) -> tuple[Sequence, Any]:
        # 1.
        return rows_of(window, carried)

    def _read(self, replay: Any, index: Array, spec: Spec) -> Sequence:
        return self.replay.rows(replay, index)

    def _minibatch(self, read: Sequence, spec: Spec) -> Batch:
        return minibatch(read, spec)

    def _unrolled(self, network: Network, batch: Batch) -> tuple[Array, Any]:
        """3. u `[T, B, A]`, and the memory right after each step, `[T, B, ...]`."""
        memory = batch.memory
        if self.burn_in:
            cold = jax.lax.stop_gradient(network)
            memory, _, _ = cold.unroll(memory, batch.features[: self.burn_in], batch.last[: self.burn_in])
        _, outputs, after = network.unroll(memory, batch.features[self.burn_in :], batch.last[self.burn_in :])
        return outputs, after

    def _goal(self, judge: Network, target: Network, batch: Batch, key: Array) -> Array:
        """4. y, `[T, B]`."""
        flat = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
        legal, legal_then = jax.tree.map(flat, (batch.legal, batch.legal_then))

        def following(network: Network, after: Any) -> Array:
            return self._unscaled(flat(network.after(after, batch.following)))

        outputs, after = self._unrolled(target, batch)
        worth = following(target, after)
        judged = lambda: restricted(following(judge, self._unrolled(judge, batch)[1]), legal_then)  # noqa: E731
        before = lambda: restricted(self._unscaled(flat(outputs)), legal)  # noqa: E731
        weights, added = self.bootstrap.weigh(restricted(worth, legal_then), judged)
        bonus = self.bootstrap.bonus(before, flat(batch.action))
        next_values, bonus = (x.reshape(batch.reward.shape) for x in (jnp.sum(weights * worth, axis=-1) + added, bonus))
        ends = batch.continues, batch.last[self.burn_in :]
        return n_step_returns(batch.reward + bonus, next_values, *ends, self.discount, self.n_step)

    def _loss(self, network: Network, batch: Batch, goal: Array, key: Array) -> tuple[Array, dict[str, Array], Array]:
        # 5. One-hot products: on a few actions they are faster than gathers.
        outputs, _ = self._unrolled(network, batch)
        taken = jnp.sum(outputs * jax.nn.one_hot(batch.action, outputs.shape[-1]), axis=-1)
        error = (squash(goal) if self.rescale else goal) - taken
        # 6.
        size = jnp.abs(error)
        priorities = ETA * jnp.max(size, axis=0) + (1 - ETA) * jnp.mean(size, axis=0)
        return jnp.mean(squared(error), axis=0), {"value": jnp.mean(self._unscaled(taken))}, priorities
