"""What learners of action values from their latest windows share: no replay and no target network."""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Outlook, Spec
from operant.equations import masked_mean, squared
from operant.errors import OperantError
from operant.parts.component import check_range
from operant.parts.encoders import encode, features_shape
from operant.parts.exploration import Exploration, check_choice, legal_options
from operant.parts.masks import action_mask, legal_actions, restricted, shown
from operant.parts.minibatches import epochs
from operant.parts.networks import Noisy, Recipe
from operant.parts.networks.heads import Network, has_memory
from operant.parts.optimisers import Optimiser, descend
from operant.parts.schedules import Scalar, at


class State(NamedTuple):
    policy: Network  # of action values
    optimiser: Any


class LatestQ:
    """Mixed into learners of action values that regress on targets from the window they have just seen.

    Where observations have an action mask, values range over the legal actions wherever one is chosen.
    """

    learning_rate: Scalar
    discount: float
    exploration: Exploration
    max_gradient_norm: float | None
    network: Recipe
    optimiser: Optimiser
    masks: ClassVar[bool] = True

    def check(self, spec: Spec) -> None:
        name = type(self).__name__
        check_choice(self.exploration, spec, name)
        check_range(self, 0, 1, "discount")
        check_range(self, 0, math.inf, "learning_rate", "max_gradient_norm")
        if isinstance(self.network, Noisy):
            raise OperantError(f"{name} explores by its rule; Noisy networks are for learners with a replay")
        if has_memory(self.network, spec.observation_space):
            raise OperantError(f"{name} learns from single steps and cannot train a network with memory")

    def init(self, key: Array, spec: Spec) -> State:
        actions = int(spec.action_space.n)  # type: ignore[attr-defined]
        shape = features_shape(spec.observation_space)
        network = Network(self.network, key, shape, actions, gain=None, num_actions=actions)
        return State(network, self.optimiser.transform().init(network))

    def start(self, policy: Network, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def act(
        self, policy: Network, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        space = context.spec.observation_space
        _, values = policy((), encode(space, observation))
        legal = legal_actions(space, observation)
        if not explore:
            return memory, jnp.argmax(restricted(values, legal), axis=-1).astype(jnp.int32), ()
        options = legal_options(values, legal)
        return memory, self.exploration.select(key, options, context.clock.progress), ()

    def outlook(self, policy: Network, memory: Any, observation: Any, context: Context) -> Outlook:
        space = context.spec.observation_space
        return Outlook(shown(policy((), encode(space, observation))[1], action_mask(space, observation)))

    def regress(self, state: State, rows: "Rows", context: Context) -> tuple[State, dict[str, Array]]:
        """One step down the squared errors of `rows`, leaves `[N, ...]`."""

        def loss(network: Network) -> tuple[Array, Array]:
            _, values = network((), rows.features)
            # One-hot products: on a few actions they are faster than gathers.
            value = jnp.sum(values * jax.nn.one_hot(rows.action, values.shape[-1]), axis=-1)
            return masked_mean(squared(rows.target - value), rows.valid), masked_mean(value, rows.valid)

        (error, value), gradient = jax.value_and_grad(loss, has_aux=True)(state.policy)
        rate = at(self.learning_rate, context.clock.progress)
        network, moments, norm = descend(
            self.optimiser, gradient, state.optimiser, state.policy, rate, self.max_gradient_norm
        )
        return State(network, moments), {"loss": error, "value": value, "gradient_norm": norm}

    def regress_epochs(
        self, state: State, rows: "Rows", key: Array, context: Context, num_epochs: int, num_minibatches: int
    ) -> tuple[State, dict[str, Array]]:
        """Epochs of minibatches of `regress`; the means of its metrics. Consumes `key`."""
        step = lambda state, minibatch: self.regress(state, minibatch, context)  # noqa: E731
        state, metrics = epochs(step, state, rows, key, num_epochs, num_minibatches)
        return state, jax.tree.map(jnp.mean, metrics)


class Rows(NamedTuple):
    """What is regressed on, `[N, ...]`."""

    features: Array
    action: Array
    target: Array
    valid: Array  # bool


def rows_of(features: Array, action: Array, target: Array, valid: Array | None = None) -> Rows:
    """The steps of a window `[T, B, ...]` as rows, the targets held constant."""
    valid = jnp.ones(target.shape, bool) if valid is None else valid
    rows = Rows(features, action, jax.lax.stop_gradient(target), valid)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
