"""Learning that is recorded episode by episode, in a population that is one program.

The recorder is an algorithm around another: it acts and learns as that one does, and at the end of every episode writes
a row. The compiled driver runs it like any other, all runs and all settings that are data at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from operant.algorithms.tabular.bandit import Bandit
from operant.algorithms.tabular.double_q_learning import DoubleQLearning
from operant.algorithms.tabular.dyna_q import DynaQ
from operant.algorithms.tabular.gradient_bandit import GradientBandit
from operant.algorithms.tabular.mc_prediction import MCPrediction
from operant.algorithms.tabular.n_step_td import NStepTD
from operant.algorithms.tabular.off_policy_mc_prediction import OffPolicyMCPrediction
from operant.algorithms.tabular.q_learning import QLearning
from operant.algorithms.tabular.sarsa import SARSA
from operant.algorithms.tabular.td import TD
from operant.algorithms.tabular.td_lambda import TDLambda
from operant.contracts import Context, Episodes, Online, Spec, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.environments.compiled import Compiled
from operant.errors import OperantError
from operant.parts.component import check_range, component

Learner: TypeAlias = (
    Bandit | DoubleQLearning | DynaQ | GradientBandit | MCPrediction | NStepTD | OffPolicyMCPrediction | QLearning
    | SARSA | TD | TDLambda
)  # fmt: skip


def nothing(policy: Any) -> Array:
    """The measure of a learner of which nothing is measured."""
    return jnp.float32(0)


class State(NamedTuple):
    policy: Any  # the learner's
    learner: Any  # the rest of its state
    rows: Array  # [episodes, 4]: return, length, first action, measure
    number: Array  # int32: the episodes that have ended
    running: Array  # [3]: return, length and first action of the running one


@component
class Recorder:
    """`algorithm`, with a row for each of its first `episodes` episodes; in one environment."""

    algorithm: Learner
    episodes: int = 100
    measure: Callable[[Any], Array] = nothing  # of the policy, after the episode was learned from

    def check(self, spec: Spec) -> None:
        check_range(self, 1, math.inf, "episodes")
        if spec.num_envs != 1:
            raise OperantError(f"episodes are recorded in one environment, not in {spec.num_envs}")
        self.algorithm.check(spec)

    def window(self) -> Online | Episodes:
        return self.algorithm.window()

    def init(self, key: Array, spec: Spec) -> State:
        learner = self.algorithm.init(key, spec)
        rows = jnp.zeros((self.episodes, 4))
        return State(learner.policy, learner._replace(policy=()), rows, jnp.int32(0), jnp.zeros(3))

    def start(self, policy: Any, key: Array, spec: Spec) -> Any:
        return self.algorithm.start(policy, key, spec)

    def act(
        self, policy: Any, memory: Any, observation: Any, key: Array, context: Context, *, explore: bool
    ) -> tuple[Any, Array, Any]:
        return self.algorithm.act(policy, memory, observation, key, context, explore=explore)

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Any]]:
        learner: Any = state.learner._replace(policy=state.policy)
        learner, metrics = self.algorithm.learn(learner, window, key, context)
        steps = window.steps
        valid = jnp.ones_like(steps.last) if window.valid is None else window.valid
        returned, length, action = state.running
        action = jnp.where(length == 0, steps.action[0, 0], action)
        running = jnp.stack([returned + jnp.sum(jnp.where(valid, steps.reward, 0.0)), length + jnp.sum(valid), action])
        ended = jnp.any(valid & steps.last)
        row = jnp.append(running, self.measure(learner.policy))
        rows = state.rows.at[jnp.where(ended, state.number, self.episodes)].set(row, mode="drop")
        number, running = state.number + ended, jnp.where(ended, 0.0, running)
        return State(learner.policy, learner._replace(policy=()), rows, number, running), metrics


class Record(NamedTuple):
    """What was recorded; `[settings, runs, episodes]`."""

    returns: np.ndarray
    lengths: np.ndarray
    first_actions: np.ndarray
    measures: np.ndarray
    worlds: Any  # the environments at the end, leaves `[settings, runs, ...]`


def record(
    learners: Sequence[Learner],
    environment: Compiled,
    episodes: int,
    runs: int,
    measure: Callable[[Any], Array] = nothing,
    seed: int = 0,
    steps: float = math.inf,
) -> Record:
    """`runs` independent runs of each of `learners`, which may differ in data alone, until all have their episodes.

    Or for so many `steps`: episodes that were not reached are zero.
    """
    recorders = [Recorder(learner, episodes, measure) for learner in learners]
    driver = CompiledDriver([recorder for recorder in recorders for _ in range(runs)], environment, num_envs=1)
    carry, iteration = driver.start(seed), 0
    count = episodes if driver.episodic else 1
    while iteration * driver.steps_per_iteration < steps and int(np.min(carry.state.number)) < episodes:
        carry = driver.advance(carry, iteration, count, 1)
        iteration += count
    shape = len(learners), runs
    rows = np.asarray(carry.state.rows, np.float64).reshape(*shape, episodes, 4)
    # Of each member's environments there is one.
    worlds = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*shape, *leaf.shape[2:]), carry.worlds.state)
    return Record(*np.moveaxis(rows, -1, 0), worlds)
