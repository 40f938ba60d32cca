"""Learners of action values from single transitions: what their minibatches are compared with."""

import dataclasses
from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from operant.contracts import Context, Outlook, Spec, Window
from operant.errors import OperantError
from operant.parts.encoders import encode
from operant.parts.masks import action_mask, restricted, shown
from operant.parts.networks.heads import has_memory
from operant.parts.replay.transitions import Batch, Stretch, Transition, example_of, minibatch, rows_of, stretches
from operant.parts.values.replay_q import ReplayQ


class Goal(NamedTuple):
    """What a minibatch's returns should be: `reward` + `discount` x what `returns` say, `[B, ...]`."""

    reward: Array
    discount: Array
    returns: Array  # [B, N], as the learner describes a return


class DeepQ(ReplayQ):
    """Learners whose replay holds single transitions.

    A member says how many `outputs` describe the return of an action, what they mean (`_returns`, `_mean`) and its loss
    (`_loss`). A truncated step bootstraps from its true final observation.
    """

    # What a member says

    @abstractmethod
    def _returns(self, network: Any, features: Array, key: Array | None = None) -> Array:
        """The return of each action, described, `[B, A, N]`; a description that is random consumes `key`."""
        ...

    @abstractmethod
    def _mean(self, returns: Array) -> Array:
        """What is described by the last axis: action values `[..., A]` of `[..., A, N]`."""
        ...

    @abstractmethod
    def _loss(self, network: Any, batch: Batch, goal: Goal, key: Array) -> tuple[Array, dict[str, Array], Array]:
        """Losses, metrics (scalars) and priorities: `([B], {...}, [B])`."""
        ...

    def _chances(self, returns: Array) -> tuple[Array, Array] | None:
        """Possible returns and their probabilities, each `[B, A, N]`, where `returns` describe a distribution."""
        return None

    def _values(self, network: Any, features: Array) -> Array:
        """Action values `[B, A]`, not random."""
        return self._mean(self._returns(network, features))

    # What all share

    def check(self, spec: Spec) -> None:
        super().check(spec)
        if has_memory(self.network, spec.observation_space):
            name = type(self).__name__
            raise OperantError(
                f"{name} learns from single transitions, not with memory as drqn does: use an MLP or a CNN"
            )

    def start(self, policy: Any, key: Array, spec: Spec) -> tuple[()]:
        return ()

    def _act(self, network: Any, memory: Any, features: Array) -> tuple[Any, Array]:
        return memory, self._values(network, features)

    def outlook(self, policy: Any, memory: Any, observation: Any, context: Context) -> Outlook:
        space = context.spec.observation_space
        returns = self._returns(policy, encode(space, observation))
        values = shown(self._mean(returns), action_mask(space, observation))
        return Outlook(values, *(self._chances(returns) or ()))

    def offline(self, rows: int) -> Any:
        """Itself with a replay for a whole dataset, so many `rows` that come as one window; no update waits."""
        replay = dataclasses.replace(self.replay, capacity=rows)  # type: ignore[type-var]
        return dataclasses.replace(self, replay=replay, num_steps=rows, warmup=0)  # type: ignore[type-var]

    def _example(self, network: Any, spec: Spec) -> tuple[Transition, int, Any]:
        row, carried = example_of(spec, self.n_step)
        return row, self.num_steps * spec.num_envs, carried

    def _rows(self, window: Window, carried: Any) -> tuple[Transition, Any]:
        return rows_of(window, carried)

    def _read(self, replay: Any, index: Array, spec: Spec) -> Stretch:
        return stretches(self.replay, replay, index, self.n_step, spec)

    def _minibatch(self, read: Stretch, spec: Spec) -> Batch:
        return minibatch(read, self.discount, spec)

    def _goal(self, judge: Any, target: Any, batch: Batch, key: Array) -> Goal:
        """What the returns of a minibatch should be, by the target network and the bootstrap's policy."""
        returns = self._returns(target, batch.following, key)
        values = restricted(self._judged(target, batch.following, returns), batch.legal_then)
        judged = lambda: restricted(self._values(judge, batch.following), batch.legal_then)  # noqa: E731
        before = lambda: restricted(self._values(target, batch.features), batch.legal)  # noqa: E731
        weights, added = self.bootstrap.weigh(values, judged)
        bonus = self.bootstrap.bonus(before, batch.action)
        described = jnp.sum(weights[..., None] * returns, axis=1)
        return Goal(batch.reward + bonus + batch.discount * added, batch.discount, described)

    def _judged(self, network: Any, features: Array, returns: Array) -> Array:
        """Action values `[B, A]` where the network's `returns` are known."""
        return self._mean(returns)


def taken(returns: Array, action: Array) -> Array:
    """`[B, N]`, the descriptions `[B, A, N]` of the actions `[B]`."""
    # One-hot products: on a few actions they are faster than gathers.
    return jnp.sum(returns * jax.nn.one_hot(action, returns.shape[1])[..., None], axis=1)
