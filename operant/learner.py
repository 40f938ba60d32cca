"""Learning in the user's own loop: `act`, step the environment, `observe`."""

import dataclasses
import math
from pathlib import Path
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from operant import catalogue
from operant.agent import Agent, Agents, batched
from operant.api import load, make_algorithm
from operant.arguments import Settings
from operant.contracts import Spec
from operant.core import runtime, training
from operant.core.drivers.loop import Loop
from operant.core.runs import checkpoint
from operant.core.runs.folder import RunFolder
from operant.core.runs.journal import Journal
from operant.description import describe
from operant.environments import Host, make
from operant.environments.host import spliced
from operant.environments.make import EnvironmentLike, name_of
from operant.environments.spaces import environment_action, learner_space
from operant.errors import OperantError
from operant.synonyms import LEARNER
from operant.words import unknown_name
from operant.workers.masking import refuse_ignored


class Learner:
    """An algorithm that learns while the user steps the environment.

        learner = operant.Learner("dqn", environment, steps=50_000)
        observation, _ = environment.reset(seed=0)
        for _ in range(50_000):
            action = learner.act(observation)
            observation, reward, terminated, truncated, _ = environment.step(action)
            learner.observe(reward, terminated, truncated, observation)
            if terminated or truncated:
                observation, _ = environment.reset()

    The same seed and order of events give the parameters of `operant.train` on the gymnasium backend, bit for bit.
    Several environments at once are a Gymnasium vector environment in autoreset mode SAME_STEP or DISABLED.
    """

    def __init__(
        self,
        algorithm: Any,
        environment: Spec | EnvironmentLike,
        *,
        seed: int = 0,
        steps: int | None = None,
        **fields: Any,
    ):
        """`algorithm` is a name, with its fields as keywords, or an object.

        `environment` says what is acted on: an environment, which is never stepped from here, or a
        `contracts.Spec` with its spaces. `steps` are the planned environment transitions over all environments:
        schedules follow them, and hold their last value beyond.

        Raises `OperantError` for anything that cannot be served.
        """
        entry = catalogue.find(algorithm) if isinstance(algorithm, str) else catalogue.entry_of(algorithm)
        if isinstance(algorithm, str):
            algorithm = make_algorithm(algorithm, fields)
        elif fields:
            raise OperantError(f"{', '.join(fields)}: set fields on the algorithm object itself, or give its name")
        steps = steps if steps is not None else entry.steps if entry else 200_000
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise OperantError(f"steps must be a whole number of at least 1, not {steps!r}")
        runtime.prepare()
        self._environment = environment
        spec = environment if isinstance(environment, Spec) else _spec_of(environment)
        self.observation_space, self.action_space = spec.observation_space, spec.action_space
        self.algorithm, self.seed, self.num_envs = algorithm, seed, spec.num_envs
        name = "the environment" if isinstance(environment, Spec) else name_of(environment)
        refuse_ignored(algorithm, spec.observation_space, name)
        self._name = entry.name if entry else type(algorithm).__name__
        self._loop = Loop(algorithm, dataclasses.replace(spec, action_space=learner_space(spec.action_space)), name)
        self._carry, self._iteration = self._loop.start(seed), 0
        self._horizon = math.ceil(steps / self._loop.steps_per_iteration)
        self._progress = training.Progress(0, self._horizon * self._loop.steps_per_iteration, 0.0, 0.0)
        self._opened = self._acted = self._single = False
        self.history: list[dict[str, Any]] = []  # rows of metrics, as in an agent's

    def act(self, observation: Any) -> np.ndarray:
        """The action to take, exploring, in the environment's own units; actions `[B, ...]` for B environments.

        Raises `OperantError` for an observation that does not fit the space, and where the last action's outcome
        was not observed.
        """
        if self._acted:
            raise OperantError("act was called twice: observe what followed the last action first")
        batch, self._single = self._batched(observation)
        if not self._opened:
            if self._loop.episodic and not self._loop.rollout.fresh.all():
                raise OperantError("whole episodes start together: reset every environment, then call learner.reset()")
            self._loop.open(self._carry, self._iteration, self._horizon)
        action = environment_action(self.action_space, self._loop.rollout.act(batch))
        self._opened = self._acted = True
        return action[0] if self._single else action

    def observe(
        self, reward: Any, terminated: Any, truncated: Any, next_observation: Any, info: dict[str, Any] | None = None
    ) -> bool:
        """What followed the last action; true where a window was full and was learned from.

        `next_observation` is what followed before any reset. A vector environment in mode SAME_STEP has it in
        `info`, which is then passed too. Raises `OperantError` for wrong shapes and where `act` did not come before,
        and `DivergedError` where learning stopped being finite.
        """
        if not self._acted:
            raise OperantError("observe comes after act: there is no action that this could have followed")
        following, single = self._batched(next_observation)
        if single != self._single:
            raise OperantError("act was given a batch of observations and observe a single one, or the reverse")
        outcome = self._each("reward", reward, "biuf").astype(np.float32)
        ends = (self._each("terminated", terminated, "b"), self._each("truncated", truncated, "b"))
        ended = np.logical_or(*ends)
        if info and "final_obs" in info and not single and ended.any():
            following = spliced(self.observation_space, following, info["final_obs"], ended)
        self._loop.rollout.observe(outcome, *ends, following)
        self._acted = False
        return self._learn_where_full()

    def reset(self) -> bool:
        """Say that every environment was reset by hand: an episode that was running counts as truncated.

        Not needed where an episode has ended. An algorithm that learns from whole episodes of several environments
        needs it after each window (`observe` returned true), because they start together. Returns as `observe` does.
        """
        self._acted = False
        self._loop.rollout.reset()
        return self._opened and self._learn_where_full()

    @property
    def steps(self) -> int:
        """Environment transitions over all environments that were learned from."""
        return self._iteration * self._loop.steps_per_iteration

    @property
    def metrics(self) -> dict[str, Any]:
        """The newest row of the history; there are about a hundred rows in the planned steps."""
        return self.history[-1] if self.history else {}

    @property
    def agent(self) -> Agent:
        """An agent with a copy of the present policy."""
        import jax

        policy = jax.tree.map(lambda leaf: leaf[0], self._loop.policies(self._carry))
        spaces = self.observation_space, self.action_space
        given = self._environment if isinstance(self._environment, str) else None
        agent = Agent(self.algorithm, policy, self._description(), spaces, given)
        agent.history = list(self.history)
        return agent

    def save(self, path: str | Path) -> None:
        """Write a run folder: `operant.load` reads the agent, `Learner.load` and `operant.resume` continue it.

        The window under way is not saved. Raises `OperantError` where the folder is not empty or cannot be written.
        """
        folder = RunFolder.create(Path(path), "", "", 0)
        folder.write_description(self._description())
        Journal([self.seed], folder).save(self._loop, self._carry, None, self._iteration, self._horizon)
        for row in self.history:
            folder.append_metrics(row)

    @classmethod
    def load(cls, path: str | Path, *, algorithm: Any = None) -> "Learner":
        """The learner that `save` wrote, or that of a run on a Gymnasium environment, to continue in one's own loop.

        The environments start anew. `algorithm` is passed where it, or a part of it, is not the library's own.
        """
        agent = load(path, algorithm=algorithm)
        if isinstance(agent, Agents):
            raise OperantError(f"{path} holds several seeds: a loop continues one")
        told, spaces = agent.description, (agent.observation_space, agent.action_space)
        spec = Spec(*spaces, told["num_envs"], told.get("time_limit"))
        learner = cls(agent.algorithm, spec, seed=told["seeds"][0], steps=told["steps"])
        learner._environment = told["environment"] if agent.environment else spec
        folder, template = RunFolder.open(Path(path)).checkpoints, learner._loop.template()
        learner._carry, found, _, _ = checkpoint.load_newest(folder, template)
        learner._iteration, learner._horizon = (int(found.get(key, 0)) for key in ("iteration", "horizon"))
        learner.history = agent.history
        return learner

    def _learn_where_full(self) -> bool:
        if not self._loop.rollout.full:
            return False
        self._carry = self._loop.learn(self._carry)
        self._iteration, self._opened = self._iteration + 1, False
        faults = np.asarray(self._carry.health.fault)[None]
        training.examine(faults, [self.seed], self._loop.steps_per_iteration, self._progress)
        every = max(1, self._horizon // training.ROWS)
        if self._iteration % every == 0 or self._iteration == self._horizon:
            self.history += training.rows_of(self._carry, [self.seed], self.steps)
            self._carry = self._loop.cleared(self._carry)
        return True

    def _batched(self, observation: Any) -> tuple[Any, bool]:
        """`observation` as a batch of all environments, and whether it was a single one."""
        batch, single = batched(self.observation_space, observation)
        leaf = batch
        while isinstance(leaf, dict | tuple):
            leaf = next(iter(leaf.values())) if isinstance(leaf, dict) else leaf[0]
        if len(leaf) != self.num_envs:
            raise OperantError(f"{len(leaf)} observations were given for {self.num_envs} environments")
        return batch, single

    def _each(self, what: str, value: Any, kinds: str) -> np.ndarray:
        """One number (or truth value) of each environment, `[B]`."""
        array, shape = np.asarray(value), () if self._single else (self.num_envs,)
        if array.shape != shape or array.dtype.kind not in kinds:
            wanted = ("a truth value" if kinds == "b" else "a number") + (f" of shape {shape}" if shape else "")
            raise OperantError(f"{what} must be {wanted}, not {array.dtype} of shape {array.shape}")
        return np.array(array.reshape(self.num_envs))

    def _description(self) -> dict[str, Any]:
        settings = Settings(self._horizon * self._loop.steps_per_iteration, self.num_envs, self.seed)
        spec = dataclasses.replace(self._loop.spec, action_space=self.action_space)
        about = describe(self._name, self.algorithm, self._environment, "gymnasium", spec, settings)
        return about | {"steps": settings.steps}

    def __getattr__(self, name: str) -> NoReturn:
        raise unknown_name("Learner", name, dir(type(self)), LEARNER)

    def __repr__(self) -> str:
        return f"Learner({self._name}, {self.steps:,} steps)"


def _spec_of(environment: EnvironmentLike) -> Spec:
    """Spaces, number and time limit of what the user is going to step, with the actions in its own units."""
    if isinstance(environment, VectorEnv):
        # The metadata come second: Gymnasium's vector environments share one dictionary among those of a class.
        mode = getattr(environment.unwrapped, "autoreset_mode", None) or environment.metadata.get("autoreset_mode")
        if mode in (None, AutoresetMode.NEXT_STEP, AutoresetMode.NEXT_STEP.value):
            raise OperantError(
                f"{name_of(environment)} resets in NEXT_STEP mode, whose junk steps must not be learned from: "
                "make it with autoreset_mode=AutoresetMode.SAME_STEP (and pass `info` to observe) or DISABLED"
            )
    world = make(environment, 1)
    spec = world.spec() if isinstance(world, Host) else world.spec(1)
    if isinstance(world, Host) and not isinstance(environment, gymnasium.Env | VectorEnv):
        world.close()
    return dataclasses.replace(spec, action_space=world.action_space)
