"""What learners of action values from a replay share, whatever a row of it is: acting, the replay, the updates."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.contracts import Clock, Context, Outlook, Ratio, Spec, Steps, Window
from operant.errors import OperantError
from operant.parts.component import check_positive, check_range, component
from operant.parts.encoders import encode, features_shape
from operant.parts.exploration import EpsilonGreedy, Exploration, check_choice, legal_options
from operant.parts.masks import action_mask, legal_actions, restricted, shown
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.heads import Network
from operant.parts.networks.value_networks import perturbed
from operant.parts.optimisers import Adam, Optimiser, descend
from operant.parts.replay import Draw, Replay, Uniform
from operant.parts.schedules import Linear, Scalar, at
from operant.parts.values.bootstraps import Bootstrap, Max
from operant.parts.values.in_parts import InParts

# What is folded into an update's key for all but drawing the minibatch: beyond the counters of any draw.
BESIDE = np.uint32(2**31)


class State(NamedTuple):
    policy: Any  # the online network
    target: Any
    optimiser: Any
    replay: Any
    carried: Any  # what streams carry from window to window


@component
class ReplayQ(ABC):
    """Off-policy learners of action values with a replay and a target network, and the fields that they all have.

    A member states fields of its own and those whose defaults differ. It says what a row of its replay is (`_example`,
    `_rows`, `_minibatch`), how it acts (`start`, `_act`), what a minibatch is compared with (`_goal`) and its loss
    (`_loss`). `warmup` and `target_every` count environment steps over all environments and take effect between
    windows. Where observations have an action mask, values range over the legal actions wherever one is chosen.
    """

    learning_rate: Scalar = 2.5e-4
    discount: float = 0.99
    exploration: Exploration = EpsilonGreedy(Linear(1.0, 0.05, over=0.5))
    bootstrap: Bootstrap = Max()
    n_step: int = 1
    target_every: int = 500
    warmup: int = 10_000
    num_steps: int = 10
    num_updates: int = 1
    batch_size: int = 128
    max_gradient_norm: float | None = None
    replay: Replay = Uniform(10_000)
    network: Recipe = MLP((120, 84), "relu", "uniform")
    optimiser: Optimiser = Adam()
    masks: ClassVar[bool] = True
    row: ClassVar[str] = "transitions"  # what the replay holds, in words

    # What a member says

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers describe an action's return."""
        ...

    @abstractmethod
    def _example(self, network: Any, spec: Spec) -> tuple[Any, int, Any]:
        """A row of zeros, how many rows a window brings, and what streams carry at the start of an episode."""
        ...

    @abstractmethod
    def _rows(self, window: Window, carried: Any) -> tuple[Any, Any]:
        """A window's rows, and `carried` after it."""
        ...

    @abstractmethod
    def _read(self, replay: Any, index: Array, spec: Spec) -> Any:
        """What the replay has of the rows at `index` `[B]`; NumPy's where they are in the host's memory."""
        ...

    @abstractmethod
    def _minibatch(self, read: Any, spec: Spec) -> Any:
        """What was read, as the loss reads it."""
        ...

    @abstractmethod
    def _act(self, network: Any, memory: Any, features: Array) -> tuple[Any, Array]:
        """The memory after features `[B, ...]`, and their action values `[B, A]`."""
        ...

    @abstractmethod
    def _goal(self, judge: Any, target: Any, batch: Any, key: Array) -> Any:
        """What the returns of a minibatch should be; `judge` is the online network."""
        ...

    @abstractmethod
    def _loss(self, network: Any, batch: Any, goal: Any, key: Array) -> tuple[Array, dict[str, Array], Array]:
        """Losses, metrics (scalars) and priorities: `([B], {...}, [B])`."""
        ...

    # What all share

    def _build(self, key: Array, spec: Spec) -> Any:
        """The network before the first step."""
        actions = int(spec.action_space.n)  # type: ignore[attr-defined]
        shape = features_shape(spec.observation_space)
        return Network(self.network, key, shape, actions * self.outputs, gain=None, num_actions=actions)

    def check(self, spec: Spec) -> None:
        check_choice(self.exploration, spec, type(self).__name__)
        whole = "num_steps", "num_updates", "batch_size", "target_every", "n_step"
        check_range(self, 1, math.inf, *whole)
        check_range(self, 0, math.inf, "warmup", "learning_rate")
        check_positive(self, "max_gradient_norm")
        check_range(self, 0, 1, "discount")
        steps = self.num_updates if spec.rows else self.num_steps * spec.num_envs
        if self._period(steps) * steps >= 2**31:
            multiple = self.target_every // steps * steps
            raise OperantError(f"a target_every of {self.target_every} cannot be counted here: try {multiple}")
        if self.bootstrap.one_step and self.n_step > 1:
            raise OperantError(f"{type(self.bootstrap).__name__} is defined for n_step 1, not {self.n_step}")
        if self.replay.capacity < self.batch_size and not spec.rows:
            raise OperantError(
                f"a replay of {self.replay.capacity} {self.row} is smaller than a minibatch of {self.batch_size}"
            )

    def window(self) -> Steps:
        return Steps(self.num_steps)

    def _period(self, per_window: int) -> int:
        """After how many windows of so many steps the target's copies fall on the same places again."""
        return self.target_every // math.gcd(self.target_every, per_window)

    def init(self, key: Array, spec: Spec) -> State:
        network = self._build(key, spec)
        row, block, carried = self._example(network, spec)
        replay = self.replay.init(row, block, spec.num_envs)
        # Equal, but in buffers of its own: the state is donated.
        target = jax.tree.map(jnp.copy, network)
        return State(network, target, self.optimiser.transform().init(network), replay, carried)

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        space = context.spec.observation_space
        features, legal = encode(space, observation), legal_actions(space, observation)
        if not explore:
            memory, values = self._act(policy, memory, features)
            return memory, jnp.argmax(restricted(values, legal), axis=-1).astype(jnp.int32), ()
        after, values = self._act(perturbed(policy, jax.random.fold_in(key, BESIDE)), memory, features)
        # What was known before the step is remembered with it, where there is any.
        options = legal_options(values, legal)
        return after, self.exploration.select(key, options, context.clock.progress), memory

    def outlook(self, policy: Any, memory: Any, observation: Any, context: Context) -> Outlook:
        space = context.spec.observation_space
        _, values = self._act(policy, memory, encode(space, observation))
        return Outlook(shown(values, action_mask(space, observation)))

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        return self.improve(self.absorb(state, window), key, context, window.steps.reward.size)

    def in_parts(self, spec: Spec) -> InParts | None:
        """`learn` in several programs, where the replay's rows are in the host's memory."""
        storage = getattr(self.replay, "storage", None)
        return InParts(spec) if getattr(storage, "memory", "device") == "host" else None

    def absorb(self, state: State, window: Window) -> State:
        """`state` with the steps of `window` in its replay."""
        rows, carried = self._rows(window, state.carried)
        return state._replace(replay=self.replay.push(state.replay, rows), carried=carried)

    def improve(self, state: State, key: Array, context: Context, per_window: int) -> tuple[State, dict[str, Any]]:
        """The updates of one iteration, which counts as `per_window` steps, and the target's part in it."""
        warm, crossed = self._due(context.clock, per_window)
        keys = self._keys(key)

        def update(number: Array, loop: tuple) -> tuple:
            learner, totals = loop
            learner, metrics = self._update(learner, state.target, keys[number], context)
            return learner, jax.tree.map(jnp.add, totals, metrics)

        learner = state.policy, state.optimiser, state.replay
        metrics = jax.eval_shape(lambda: self._update(learner, state.target, key, context)[1])
        nothing = jax.tree.map(lambda metric: jnp.zeros(metric.shape), metrics)
        times = jnp.where(warm, self.num_updates, 0)
        (network, optimiser, replay), totals = jax.lax.fori_loop(0, times, update, (learner, nothing))
        target = jax.lax.cond(crossed, lambda: network, lambda: state.target)
        return State(network, target, optimiser, replay, state.carried), self._means(totals, warm)

    def _due(self, clock: Clock, per_window: int) -> tuple[Array, Array]:
        """Whether there are updates in this window, and whether it reaches a multiple of `target_every`."""
        # On the clock, so that it is no mask: a loop that may run no times carries the replay without a copy.
        windows = clock.iteration + 1  # counted in these, for environment steps would outgrow int32
        crossed = windows % self._period(per_window) * per_window % self.target_every < per_window
        return windows > self.warmup // per_window, crossed

    def _keys(self, key: Array) -> Array:
        """A key for each update, and one more.

        With one alone XLA sees that its rows do not depend on the loop, reads them before it, together with the push,
        and copies the ring for that.
        """
        return jax.random.split(key, self.num_updates + 1)

    def _means(self, totals: dict[str, Array], warm: Array) -> dict[str, Ratio]:
        """Metrics of an iteration from their sums over its updates."""
        return {name: Ratio(total / self.num_updates, jnp.float32(warm)) for name, total in totals.items()}

    def _update(self, learner: tuple, target: Any, key: Array, context: Context) -> tuple[tuple, dict[str, Array]]:
        draw = self._draw(learner[2], key, context)
        return self._descend(learner, target, draw, self._read(learner[2], draw.index, context.spec), key, context)

    def _draw(self, replay: Any, key: Array, context: Context) -> Draw:
        return self.replay.draw(replay, key, self.batch_size, context.clock.progress)

    def _descend(
        self, learner: tuple, target: Any, draw: Draw, read: Any, key: Array, context: Context
    ) -> tuple[tuple, dict[str, Array]]:
        """The learner after a step from what was `read` of the rows of `draw`; `key` is that of the draw."""
        (network, moments, replay), batch = learner, self._minibatch(read, context.spec)
        judging, holding, describing, learning, losing = jax.random.split(jax.random.fold_in(key, BESIDE), 5)
        goal = self._goal(perturbed(network, judging), perturbed(target, holding), batch, describing)

        def loss(network: Any) -> tuple[Array, tuple[dict[str, Array], Array]]:
            losses, metrics, priorities = self._loss(perturbed(network, learning), batch, goal, losing)
            loss = jnp.mean(losses if draw.weights is None else draw.weights * losses)
            return loss, (metrics | {"loss": loss}, priorities)

        gradient, (metrics, priorities) = jax.grad(loss, has_aux=True)(network)
        rate = at(self.learning_rate, context.clock.progress)
        network, moments, norm = descend(self.optimiser, gradient, moments, network, rate, self.max_gradient_norm)
        return (network, moments, self.replay.update(replay, draw, priorities)), metrics | {"gradient_norm": norm}
