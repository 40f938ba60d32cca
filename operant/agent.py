"""A trained agent in the user's hands: NumPy in, NumPy out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, overload

import gymnasium
import jax
import numpy as np

from operant.contracts import Context, Foreseeing, Outlook, Spec
from operant.core import evaluation, keys, runtime
from operant.core.showing.episodes import Episode, played
from operant.core.statistics import Evaluation
from operant.environments import Compiled, Host, make
from operant.environments.make import EnvironmentLike, is_made, release
from operant.environments.spaces import environment_action, in_words, learner_space
from operant.errors import OperantError
from operant.parts.component import strong
from operant.parts.encoders import canonical_dtype, children, example, features_shape
from operant.parts.networks.heads import restart
from operant.portable.policy import NumpyPolicy
from operant.synonyms import AGENT
from operant.words import answers_words, unknown_name
from operant.workers.masking import choices, has_mask, refuse_empty


class Agent:
    """An algorithm with a learned policy, ready to act; made by `train` and `load`."""

    outcome: Any = None  # how training ended (`core.training.Outcome`), where it was trained in this process
    folder: Path | None = None  # its run's
    best: "Agent | None" = None  # as it was at its best evaluation during training, where it was evaluated
    best_steps: int | None = None  # when that was

    def __init__(self, algorithm: Any, policy: Any, description: dict[str, Any], spaces: Any, environment: Any = None):
        self.algorithm, self.policy, self.description = algorithm, policy, description
        self.observation_space: gymnasium.Space = spaces[0]
        self.action_space: gymnasium.Space = spaces[1]
        self.environment: EnvironmentLike = environment
        self.history: list[dict[str, Any]] = []
        self._memory: Any = None
        self._key, self._calls = keys.root(0), 0
        # Whether the compiled program can give the environment's own units; not where they are of 64 bits.
        self._in_units = spaces[1].dtype == np.float32 or not isinstance(spaces[1], gymnasium.spaces.Box)
        self._example = example(self.observation_space)
        self._masked = has_mask(self.observation_space)
        self._programs: dict[tuple[int, bool], Any] = {}  # by batch size and exploration
        self._outlook: tuple[int, Any] | None = None  # the batch size, and its program

    @overload
    def act(self, observation: Any, memory: None = None, *, explore: bool = False) -> np.ndarray: ...

    @overload
    def act(self, observation: Any, memory: Any, *, explore: bool = False) -> tuple[np.ndarray, Any]: ...

    @answers_words
    def act(self, observation: Any, memory: Any = None, *, explore: bool = False) -> Any:
        """The action for one observation, or actions `[B, ...]` for a batch, in the environment's own units.

        Greedy unless `explore`. A policy with memory keeps it from call to call, and `reset` clears it; or the memory
        is given (`start` makes a fresh one) and `(action, memory)` comes back, and nothing is kept. Raises
        `OperantError` for an observation or a memory that does not fit, and where an `action_mask` allows no action.
        """
        batch, single = batched(self.observation_space, observation)
        size = len(batch if isinstance(batch, np.ndarray) else jax.tree.leaves(batch)[0])
        if self._masked:
            refuse_empty(batch, choices(self.action_space), "the observation")
        program = self._programs.get((size, explore)) or self._program(size, explore)
        if memory is not None:
            before = memory
        elif self._memory is not None and self._memory[0] == size:
            before = self._memory[1]
        else:
            before = self.start(size)
        self._calls += 1
        try:
            after, action = program(before, batch, np.uint32(self._calls))
        except TypeError as error:
            raise self._unfit(size) from error
        action = np.asarray(action)
        if not self._in_units:
            action = environment_action(self.action_space, action)
        action = action[0] if single else action
        if memory is not None:
            return action, after
        self._memory = size, after
        return action

    def outlook(self, observation: Any, memory: Any = None) -> Outlook:
        """What it expects of each action: the expected returns `values [A]`, `[B, A]` for a batch, in NumPy.

        Where it learned the distribution of returns, also possible `returns [A, N]` and their `chances [A, N]`. With
        `memory` as in `act`, which is not advanced. Raises `OperantError` where the algorithm has no action values, and
        for an observation or a memory that does not fit.
        """
        if not isinstance(self.algorithm, Foreseeing):
            raise OperantError(f"{self.description['algorithm']} learns no action values")
        batch, single = batched(self.observation_space, observation)
        size = len(jax.tree.leaves(batch)[0])
        if memory is None and self._memory is not None and self._memory[0] == size:
            memory = self._memory[1]
        elif memory is None:
            memory = self.start(size)
        context = Context(self._spec(size), evaluation.final_clock())
        if self._outlook is None or self._outlook[0] != size:
            # Bound to one size of batch, since the spec is part of what is traced.
            foresee = lambda *given: self.algorithm.outlook(*given, context)  # noqa: E731
            self._outlook = size, jax.jit(foresee)
        try:
            with runtime.narrow():
                outlook = jax.tree.map(np.asarray, self._outlook[1](self.policy, memory, batch))
        except (TypeError, ValueError) as error:
            raise self._unfit(size) from error
        return jax.tree.map(lambda leaf: leaf[0], outlook) if single else outlook

    def watch(self, environment: EnvironmentLike | None = None, seed: int = 0) -> Episode:
        """Play one greedy episode and draw it, with what is expected of each action beside it where that was learned.

        In a notebook the result is shown; `save(path)` writes it as a GIF. Raises `OperantError` where the
        environment cannot be drawn.
        """
        return played(self, environment, seed)

    def start(self, n: int = 1) -> Any:
        """Fresh memory for `n` observations at a time, to be passed to `act`; `()` where the policy has none."""
        with runtime.narrow():
            return self.algorithm.start(self.policy, self._key, self._spec(n))

    def reset(self, ended: np.ndarray | None = None) -> None:
        """Forget what the policy remembers: of every environment, or where `ended [B]` is true."""
        if ended is None or self._memory is None:
            self._memory = None
        else:
            size, memory = self._memory
            self._memory = size, restart(memory, self.start(size), np.asarray(ended))

    @answers_words
    def evaluate(
        self, episodes: int = 100, seed: int = 0, environment: EnvironmentLike | None = None, explore: bool = False
    ) -> Evaluation:
        """Play whole episodes on environments and seeds of their own. Raises `OperantError` without an environment."""
        policies = jax.tree.map(lambda leaf: leaf[None], self.policy)
        return evaluate_policies(self, policies, episodes, seed, environment, explore)[0]

    def save(self, path: str | Path) -> None:
        """Write what `operant.load` reads: the description and the policy. Raises `OperantError` if that fails."""
        from operant.core.runs import checkpoint
        from operant.core.runs.folder import RunFolder

        folder = RunFolder.create(Path(path), "", "", 0)
        seed = self.description["seeds"][:1]
        folder.write_description(self.description | {"seeds": seed})
        checkpoint.save(folder.policies, "0", jax.tree.map(lambda leaf: leaf[None], self.policy), {})

    def to_numpy(self) -> NumpyPolicy:
        """The greedy policy in NumPy alone, to be saved and loaded (`operant.load_numpy`) where JAX is not installed.

        Raises `OperantError` where the policy does something that NumPy has no operation for here.
        """
        from operant.exported import to_numpy

        return to_numpy(self)

    def _unfit(self, size: int) -> OperantError:
        return OperantError(f"this memory is not one for {size} observations: agent.start({size}) makes it")

    def _spec(self, size: int) -> Spec:
        limit = self.description.get("time_limit")
        return Spec(self.observation_space, learner_space(self.action_space), size, limit)

    def _program(self, size: int, explore: bool) -> Any:
        """The compiled program `(memory, observation, call) -> (memory, action)` for batches of `size`.

        What was learned is part of it: handing the arrays over at every call would take longer than the network.
        """
        context, root = Context(self._spec(size), evaluation.final_clock()), self._key
        learned = jax.tree.map(np.asarray, (strong(self.algorithm), self.policy))

        @jax.jit
        def act(memory: Any, observation: Any, call: Any) -> tuple[Any, Any]:
            algorithm, policy = jax.tree.map(jax.numpy.asarray, learned)
            key = jax.random.fold_in(root, call)
            memory, action, _ = algorithm.act(policy, memory, observation, key, context, explore=explore)
            return memory, environment_action(self.action_space, action, jax.numpy) if self._in_units else action

        # Compiled once for good, in the library's dtypes whatever the process's are.
        with runtime.narrow():
            shape = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), self._example)
            lowered = act.lower(self.start(size), shape, np.uint32(0))
            program = self._programs[size, explore] = lowered.compile()
        return program

    def __getattr__(self, name: str) -> NoReturn:
        raise unknown_name("Agent", name, dir(type(self)), AGENT)

    def __repr__(self) -> str:
        return f"Agent({self.description['algorithm']} on {self.description['environment']})"

    def _repr_html_(self) -> str:
        return _shown([self], self.folder)


class Agents(Sequence[Agent]):
    """One agent a seed. Index one, take the `best`, or evaluate all with the interval over seeds."""

    outcome: Any = None
    folder: Path | None = None

    def __init__(self, members: Sequence[Agent]):
        self._members = list(members)
        self._scores: list[float] | None = None

    def __getitem__(self, index: Any) -> Any:
        return self._members[index]

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._members)

    @answers_words
    def evaluate(self, episodes: int = 100, seed: int = 0, environment: EnvironmentLike | None = None) -> Evaluation:
        """Each seed's mean return counts once: `Evaluation.returns` are the means, its interval is over seeds."""
        return over_seeds(self.evaluate_each(episodes, seed, environment))

    def evaluate_each(
        self, episodes: int = 100, seed: int = 0, environment: EnvironmentLike | None = None
    ) -> list[Evaluation]:
        """The evaluation of every seed, all on the same episodes' seeds."""
        policies = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *(agent.policy for agent in self))
        own = [agent.algorithm for agent in self]  # those of a grid differ, and may act differently by it
        algorithm = own if len({id(each) for each in own}) > 1 else own[0]
        results = evaluate_policies(self[0], policies, episodes, seed, environment, algorithm=algorithm)
        self._scores = [result.mean for result in results]
        return results

    @property
    def best(self) -> Agent:
        """The agent of the highest mean return in the last evaluation (one is made if there was none).

        A maximum over seeds is a flattering number: report the mean over seeds, use this one to act.
        """
        if self._scores is None:
            self.evaluate()
        return self[int(np.nanargmax(self._scores))]  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> NoReturn:
        table = {word: ours.replace("agent.", "agents[0].") for word, ours in AGENT.items()}
        raise unknown_name("Agents", name, dir(type(self)), table)

    def __repr__(self) -> str:
        return f"Agents({len(self)} x {self[0]!r})"

    def _repr_html_(self) -> str:
        return _shown(list(self), self.folder)


def _shown(agents: list[Agent], folder: Path | None) -> str:
    """Agents of one run in a notebook: what they are, and how they learned."""
    from operant.core.showing.notebook import picture, table
    from operant.core.showing.plots import curve_png

    told = agents[0].description
    title = f"{told['algorithm']} on {told['environment']}"
    rows = [(title, ""), ("steps", f"{told['steps']:,}")]
    rows.append(("seeds", ", ".join(str(seed) for agent in agents for seed in agent.description["seeds"])))
    if folder is not None:
        rows.append(("run", str(folder)))
    drawn = any(row.get("episode_return") is not None for agent in agents for row in agent.history)
    return table(rows) + (picture(curve_png([agent.history for agent in agents], title), title) if drawn else "")


def over_seeds(results: Sequence[Evaluation]) -> Evaluation:
    """One number a seed: the evaluation itself for one seed, the seeds' means for several."""
    if len(results) == 1:
        return results[0]
    return Evaluation(np.array([r.mean for r in results]), np.array([r.lengths.mean() for r in results]))


def evaluate_policies(
    agent: Agent,
    policies: Any,
    episodes: int,
    seed: int,
    environment: EnvironmentLike | None,
    explore: bool = False,
    algorithm: Any = None,
) -> list[Evaluation]:
    """Evaluate policies `[N, ...]`, each on the same seeds; `algorithm`, in place of the agent's, may be a list."""
    if episodes < 1:
        raise OperantError(f"episodes must be at least 1, not {episodes}")
    world = world_of(agent, environment, min(episodes, 16))
    try:
        algorithm = agent.algorithm if algorithm is None else algorithm
        return evaluation.evaluator(algorithm, world, episodes, explore, once=True)(policies, seed)
    finally:
        release(world)


def world_of(agent: Agent, environment: EnvironmentLike | None, num_envs: int) -> Compiled | Host:
    """Environments for an agent to play on.

    Raises `OperantError` where it has none and none is given, or where they are not like those it has learned on.
    """
    given = environment if environment is not None else agent.environment
    if given is None:
        raise OperantError("this agent was loaded without its environment: pass environment=")
    backend = agent.description.get("backend", "auto") if environment is None else "auto"
    kwargs = None if is_made(given) else agent.description.get("env_kwargs")
    world = make(given, num_envs, backend, kwargs, has_mask(agent.observation_space))
    seen, given_seen = (each.observation_space for each in (agent, world))
    done, taken = (in_words(learner_space(each.action_space)) for each in (agent, world))
    wrong = ""
    if features_shape(seen) != features_shape(given_seen):
        wrong = f"this agent observes {in_words(seen)}, but {world.name} {in_words(given_seen)}"
    elif done != taken:
        wrong = f"this agent's actions are {done}, but those of {world.name} {taken}"
    if wrong:
        release(world)
        raise OperantError(wrong)
    return world


def batched(space: gymnasium.Space, observation: Any) -> tuple[Any, bool]:
    """`observation` as a batch in the library's dtypes, and whether it was a single one."""
    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        parts = {name: batched(part, observation[name]) for name, part in children(space)}
        single = all(alone for _, alone in parts.values())
        leaves = {name: leaf for name, (leaf, _) in parts.items()}
        return (leaves if isinstance(space, gymnasium.spaces.Dict) else tuple(leaves.values())), single
    array, shape = np.asarray(observation), space.shape or ()
    if array.shape != shape and array.shape[1:] != shape:
        raise OperantError(f"an observation of shape {array.shape} does not fit the space's {shape}, nor a batch of it")
    single = array.shape == shape
    # A copy, since an environment may go on writing into its own.
    array = np.array(array[None] if single else array, canonical_dtype(space.dtype))
    return array, single
