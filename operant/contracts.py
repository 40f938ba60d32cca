"""What everybody agrees on: the words that pass between environments, algorithms and drivers. No behaviour.

Shapes are time-major: T steps of B parallel environments. Every field may be a pytree whose leaves carry
those leading axes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import gymnasium

PyTree: TypeAlias = Any
Array: TypeAlias = Any  # JAX's inside compiled programs, NumPy's on the host


class Step(NamedTuple):
    """One transition of each environment; leaves `[B, ...]`, or `[T, B, ...]` inside a `Window`.

    The two ends are never merged. `terminated`: the MDP reached a terminal state, its value is zero.
    `truncated`: the episode was cut (a time limit), the state that follows still has a value.
    """

    observation: PyTree
    action: PyTree
    reward: Array  # float32
    terminated: Array  # bool
    truncated: Array  # bool
    next_observation: PyTree  # what followed, before any automatic reset
    extras: PyTree  # what `act` chose to remember (log-probabilities, values, ...)

    @property
    def continues(self) -> Array:
        """1 where the next state has a value to bootstrap from, 0 where it is terminal (float32)."""
        return 1.0 - self.terminated.astype("float32")

    @property
    def last(self) -> Array:
        """True where the episode ended either way: traces and episode bookkeeping are cut here."""
        return self.terminated | self.truncated


class Window(NamedTuple):
    """What `learn` receives.

    `valid` is None for `Steps` windows, where every step counts; for `Episodes` it is bool `[T, B]`, true up
    to and including the first `last` of each column.
    """

    steps: Step  # [T, B, ...]
    memory: PyTree  # [B, ...]: each environment's carry before the first step
    slots: Array  # [B] int32: the stream that each column continues
    age: Array  # int32: learner updates since the acting policy was copied
    valid: Array | None = None


class Ratio(NamedTuple):
    """A metric that is a mean in the making, so that parts of any length add up."""

    total: Array
    count: Array


@dataclass(frozen=True)
class Steps:
    """A running window: `length` consecutive steps of every environment, episodes crossing window borders."""

    length: int


@dataclass(frozen=True)
class Episodes:
    """Whole episodes: every environment is reset and runs to its first end, at most to the time limit."""


@dataclass(frozen=True)
class Online:
    """Windows of one step, each learned from before the next action: what the textbook's loops do.

    One iteration of the compiled driver is `length` of them: random numbers are drawn at once for so many, and metrics
    and faults are looked at afterwards. `context.clock` still counts every window.
    """

    length: int = 100


@dataclass(frozen=True, eq=False)
class Spec:
    """What an algorithm may know about its environment. Compared by identity: spaces are never hashed.

    Bounded continuous actions are `Box(-1, 1)` here; the environment's edge rescales them to the true bounds.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    num_envs: int
    time_limit: int | None = None  # steps in an episode, None where there is no limit
    compute_reward: Callable[..., Array] | None = None
    model: Any = None
    rows: int | None = None  # of the dataset, where one is all there is to learn from and nothing acts


class Clock(NamedTuple):
    """The driver's time; never batched over seeds, so that `lax.cond` on it is real branching."""

    iteration: Array  # int32: how many windows were learned from before this one
    progress: Array  # float32 in [0, 1]: share of the planned training that has passed


class Context(NamedTuple):
    """What the driver tells every method: the spec (closed over, static) and the clock."""

    spec: Spec
    clock: Clock


class State(Protocol):
    """Everything learned that must survive; a NamedTuple of arrays whose field `policy` is all acting reads.

    What streams carry from one window to the next (steps that wait, traces) is a field `carried`, all zeros at the
    start of an episode: a driver whose environments were reset between two windows clears it.
    """

    @property
    def policy(self) -> PyTree: ...

    def _replace(self, **fields: Any) -> Any: ...


class Algorithm(Protocol):
    """A learner: a frozen dataclass made with `parts.component.component`, with pure methods.

    A class attribute `masks = True` says that its actions honour an `action_mask` in the observation; without it, such
    environments are refused.
    """

    def check(self, spec: Spec) -> None:
        """Raise `OperantError` where this algorithm cannot serve `spec` or a field makes no sense."""

    def window(self) -> Steps | Online | Episodes:
        """Which windows `learn` wants."""
        ...

    def init(self, key: Array, spec: Spec) -> State:
        """Fresh state; strongly typed arrays only, no two leaves sharing a buffer."""
        ...

    def start(self, policy: PyTree, key: Array, spec: Spec) -> PyTree:
        """Fresh memory for `spec.num_envs` environments, `()` where the policy has none."""
        ...

    def act(
        self, policy: PyTree, memory: PyTree, observation: PyTree, key: Array, context: Context, *, explore: bool
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`(memory, action, extras)` for a batch of observations `[B, ...]`."""
        ...

    def learn(self, state: Any, window: Window, key: Array, context: Context) -> tuple[Any, dict[str, Array]]:
        """One iteration from one window: the new state and scalar metrics."""
        ...


@runtime_checkable
class Asynchronous(Algorithm, Protocol):
    """A learner from `Steps` windows whose `learn` is two halves, so that actors can run them on shared parameters."""

    num_actors: int

    @property
    def off_policy(self) -> bool:
        """Whether `gradient` is for the newest state, though an older policy acted, `window.age` updates ago."""
        ...

    def gradient(self, state: Any, window: Window, key: Array, context: Context) -> tuple[Any, Any, dict[str, Array]]:
        """`(state, gradient, metrics)`: the state with what the window leaves besides its gradient (statistics, and
        the memories of the window's slots), everything else as it was.
        """
        ...

    def apply(self, state: Any, gradient: Any, context: Context) -> tuple[Any, dict[str, Array]]:
        """The state after the step that `gradient`, of this state or of an earlier one, asks for; and metrics."""
        ...


class Outlook(NamedTuple):
    """What a learner expects of each action, for people to look at."""

    values: Array  # [B, A]: expected returns, -inf where a mask forbids an action
    returns: Array | None = None  # [B, A, N]: possible returns, where a distribution was learned
    chances: Array | None = None  # [B, A, N]: their probabilities


@runtime_checkable
class Foreseeing(Algorithm, Protocol):
    """A learner that can say what it expects of each of its discrete actions."""

    def outlook(self, policy: PyTree, memory: PyTree, observation: PyTree, context: Context) -> Outlook:
        """Of every action, for a batch of observations `[B, ...]` and the memory before them."""
        ...


@runtime_checkable
class Offline(Algorithm, Protocol):
    """A learner whose `learn` is two halves, so that the second can go on alone from a dataset."""

    num_updates: int  # gradient steps of `improve`

    def offline(self, rows: int) -> "Offline":
        """Itself as a learner that absorbs so many `rows`, a whole dataset, as one window and then only improves."""
        ...

    def absorb(self, state: Any, window: Window) -> Any:
        """`state` with the steps of `window` kept in it; nothing is learned yet."""
        ...

    def improve(self, state: Any, key: Array, context: Context, per_window: int) -> tuple[Any, dict[str, Array]]:
        """One iteration, which counts as `per_window` steps, from what was absorbed: the new state and metrics."""
        ...


@runtime_checkable
class Divisible(Algorithm, Protocol):
    """A learner whose state may hold more than the device does: NumPy arrays, which no program gets."""

    def in_parts(self, spec: Spec) -> Callable[[Any, Any, Window, Array, Clock], tuple[Any, dict[str, Any]]] | None:
        """What a driver in Python calls with `(algorithm, state, window, key, clock)` in place of `learn`.

        It runs programs of its own, uses up the state but for its policy, and writes into the NumPy arrays, of which
        `init` gives outlines (`parts.replay.host_memory`). None where all is on the device, and `learn` one program.
        """
        ...


class CompiledEnvironment(Protocol):
    """An environment whose transition JAX can compile (gymnax 1.x's methods; inheriting is not needed).

    `step` resets by itself where an episode ends and reports what followed before the reset in
    `info["final_observation"]`. One environment; the driver vectorises.
    """

    def reset(self, key: Array, params: Any = None) -> tuple[PyTree, PyTree]: ...

    def step(
        self, key: Array, state: PyTree, action: PyTree, params: Any = None
    ) -> tuple[PyTree, PyTree, Array, Array, Array, dict[str, Any]]: ...

    def observation_space(self, params: Any) -> Any: ...

    def action_space(self, params: Any) -> Any: ...
