"""Recording: transitions of a trained policy, as a dataset for others to learn from."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from operant.contracts import Array, Clock, Context, Spec, Step
from operant.core import keys
from operant.core.data.datasets import COLUMNS, Dataset
from operant.core.drivers.collecting import Collector
from operant.core.drivers.rollout import Rollout, fill
from operant.core.evaluation import final_clock
from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.environments.spaces import environment_action

ENVS = 16  # copies of a compiled environment


@partial(jax.tree_util.register_dataclass, data_fields=["learner", "other", "epsilon"], meta_fields=["explores"])
@dataclass(frozen=True)
class Behaviour:
    """Acts as `learner`, greedily unless it `explores`, and with probability `epsilon` as `other`, without memory."""

    learner: Any
    other: Any
    epsilon: Array
    explores: bool

    def start(self, policy: Any, key: Array, spec: Spec) -> Any:
        return self.learner.start(policy, key, spec)

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        """As an algorithm's; whether to explore is the behaviour's own."""
        acting, choosing, drawing = jax.random.split(key, 3)
        memory, action, _ = self.learner.act(policy, memory, observation, acting, context, explore=self.explores)
        drawn = self.other.act(policy, (), observation, drawing, context, explore=True)[1]
        whether = jax.random.uniform(choosing, action.shape[:1]) < self.epsilon
        return memory, jnp.where(whether.reshape(-1, *[1] * (action.ndim - 1)), drawn, action), ()


class _Acting(NamedTuple):
    """All that acting reads of a state."""

    policy: Any


def record(behaviour: Behaviour, policy: Any, world: Compiled | Host, steps: int, seed: int) -> Dataset:
    """`steps` transitions of `behaviour` with `policy` in `world`, in its own units, one environment after the other.

    Where recording ends, an episode that was running is cut: `truncated`, with its true next observation.
    """
    envs = world.num_envs if isinstance(world, Host) else min(ENVS, steps)
    length = -(-steps // envs)
    if isinstance(world, Compiled):
        collected: Step = jax.jit(partial(_collect, world, envs, length))(behaviour, policy, keys.root(seed))
    else:
        collected = _collect_on_host(world, length, behaviour, policy, keys.root(seed), seed)
    fields = {name: jax.tree.map(np.asarray, getattr(collected, name)) for name in COLUMNS}
    fields["action"] = environment_action(world.action_space, fields["action"])
    fields["truncated"] = fields["truncated"].copy()
    fields["truncated"][-1] |= ~fields["terminated"][-1]
    rows = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:])[:steps], fields)
    rows["truncated"][-1] |= ~rows["terminated"][-1]
    return Dataset(world.observation_space, world.action_space, **rows)


def _collect(world: Compiled, envs: int, length: int, behaviour: Behaviour, policy: Any, key: Array) -> Step:
    spec = world.spec(envs)
    collector = Collector(world, spec, length)
    carry = collector.begin(behaviour, policy, key)._replace(state=_Acting(policy))
    return collector.steps(behaviour, carry, Context(spec, final_clock()))[1].steps


def _collect_on_host(world: Host, length: int, behaviour: Behaviour, policy: Any, key: Array, seed: int) -> Step:
    rollout = Rollout(world.spec(), length, False)
    rollout.open(behaviour, policy, key, Clock(np.int32(0), np.float32(1)))
    fill(rollout, world, world.reset(seed))
    return rollout.close()[0].steps
