"""The offline driver: learning from a dataset alone, in one program for all seeds.

The dataset is absorbed once, as one window, into a replay of its size. From then on nothing acts: an iteration is one
`improve`, and a step is a gradient step. The rows are an argument of the program that all seeds share; they are no part
of the carry, so that no checkpoint holds them (`run.json` says where they come from). The replay says which of its
state they are (`shared`); what it keeps beside them, such as priorities, is each seed's own.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from operant.contracts import Algorithm, Clock, Context, Offline, Ratio
from operant.core import keys
from operant.core.data.datasets import Dataset
from operant.core.drivers.members import Members
from operant.core.metrics import Health, well
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.environments.spaces import in_words
from operant.errors import OperantError


class OfflineCarry(NamedTuple):
    """Everything that a run is, between two iterations, but the dataset; what a checkpoint holds."""

    key: Array
    state: Any  # without the rows of the replay
    totals: dict[str, Ratio]
    health: Health


class OfflineDriver(Members):
    """Trains members on a dataset; `environment` tells what is observed and done, and is never stepped."""

    num_envs = 1

    def __init__(
        self,
        algorithm: Algorithm | Sequence[Algorithm],
        dataset: Dataset,
        environment: Compiled | Host,
        num_seeds: int = 1,
        devices: Sequence[Any] | None = None,
    ):
        """Raises `OperantError` where an algorithm needs actions of its own, or the dataset is of other spaces."""
        first: Any = algorithm[0] if isinstance(algorithm, Sequence) else algorithm
        if not isinstance(first, Offline):
            name = type(first).__name__
            raise OperantError(f"{name} learns from its own actions, not from a dataset: cql and dqn's relatives do")
        check_spaces(dataset, environment)
        self.environment, self.rows = environment, dataset.rows
        self.steps_per_iteration = first.num_updates
        spec = environment.spec() if isinstance(environment, Host) else environment.spec(1)
        super().__init__(algorithm, dataclasses.replace(spec, num_envs=1, rows=self.rows), num_seeds, devices=devices)
        absorbed = jax.jit(lambda window: self._absorbed(first, window))
        self.given = jax.device_put(absorbed(dataset.window()), NamedSharding(self._mesh, PartitionSpec()))

    def _absorbed(self, algorithm: Any, window: Any) -> Any:
        """The replay with the dataset in it; that does not depend on any key."""
        learner = algorithm.offline(self.rows)
        return learner.absorb(learner.init(keys.root(0), self.spec), window).replay

    def _init(self, algorithm: Any, key: Array, given: Any) -> OfflineCarry:
        learner = algorithm.offline(self.rows)
        state = learner.init(keys.role(key, keys.INIT), self.spec)
        own, _ = _parted(learner.replay, given)
        carry = OfflineCarry(key, state._replace(replay=own), {}, well())
        return carry._replace(totals=self._zeros(algorithm, carry, given))

    def _learn(self, algorithm: Any, carry: OfflineCarry, iteration: Array, total: Array, given: Any) -> tuple:
        context = Context(self.spec, Clock(iteration, jnp.minimum(iteration / total, 1.0)))
        learner = algorithm.offline(self.rows)
        replay = eqx.combine(carry.state.replay, _parted(learner.replay, given)[1])
        state, key = carry.state._replace(replay=replay), keys.role(carry.key, keys.LEARN, iteration)
        state, metrics = learner.improve(state, key, context, self.steps_per_iteration)
        own, _ = _parted(learner.replay, state.replay)
        return (carry._replace(state=state._replace(replay=own)), ((), (), False)), metrics, {}


def _parted(replay: Any, state: Any) -> tuple[Any, Any]:
    """The `state` of `replay` without the rows that all seeds share, and those alone; `eqx.combine` joins them."""
    shared, own = eqx.partition(state, replay.shared(state))
    return own, shared


def check_spaces(dataset: Dataset, environment: Compiled | Host) -> None:
    """Raise `OperantError` where what the dataset observed and did is not what `environment` gives and takes."""
    seen, given = (in_words(each.observation_space) for each in (dataset, environment))
    if seen != given:
        raise OperantError(f"the dataset observes {seen}, but {environment.name} {given}")
    done, taken = (in_words(each.action_space) for each in (dataset, environment))
    if done != taken:
        raise OperantError(f"the dataset's actions are {done}, but those of {environment.name} {taken}")
