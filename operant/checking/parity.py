"""A compiled environment against its Gymnasium twin: both in the same state, one step with the same action."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from operant.checking import episodes as seen
from operant.checking.report import Finding
from operant.environments.compiled import Compiled

STATES = 200
TOLERANCE = 1e-3  # single precision, some substeps of an integrator apart


@dataclass(frozen=True)
class Twin:
    """The fields of the compiled state in the order of Gymnasium's `state`, and the range to draw them from."""

    fields: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


# States that an episode can be in, up to those from which one step ends it.
TWINS = {
    "CartPole-v1": Twin(("x", "x_dot", "theta", "theta_dot"), (-2.39, -3, -0.209, -3), (2.39, 3, 0.209, 3)),
    "Pendulum-v1": Twin(("theta", "theta_dot"), (-3.1, -8), (3.1, 8)),
    "MountainCar-v0": Twin(("position", "velocity"), (-1.2, -0.07), (0.49, 0.07)),
    "MountainCarContinuous-v0": Twin(("position", "velocity"), (-1.2, -0.07), (0.44, 0.07)),
    "Acrobot-v1": Twin(
        ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"), (-3.1, -3.1, -12, -28), (3.1, 3.1, 12, 28)
    ),
}


def check_parity(world: Compiled, seed: int) -> Iterator[Finding]:
    """Findings where next observation, reward or end disagree; nothing for an environment without a known twin."""
    twin = TWINS.get(world.name)
    if twin is None or not hasattr(world.environment, "step_env"):
        return
    rng = np.random.default_rng(seed)
    states = rng.uniform(twin.low, twin.high, (STATES, len(twin.fields)))
    host = gymnasium.make(world.name).unwrapped
    host.reset(seed=seed)
    host.action_space.seed(seed)
    actions = np.stack([host.action_space.sample() for _ in range(STATES)])
    ours = _compiled(world, twin, states, actions)
    theirs = [_host(host, state, action) for state, action in zip(states, actions, strict=True)]
    host.close()
    fix = "one of the two has other dynamics or constants: compare their step functions, or take backend='gymnasium'"
    for name, mine, other in zip(("observation", "reward", "terminated"), ours, zip(*theirs, strict=True), strict=True):
        a, b = (np.asarray(part, np.float64).reshape(STATES, -1) for part in (mine, np.stack(other)))
        wrong = np.flatnonzero((np.abs(a - b) > TOLERANCE * (1 + np.abs(b))).any(1)) if a.shape == b.shape else [0]
        if len(wrong):
            k = wrong[0]
            place = dict(zip(twin.fields, (round(float(x), 3) for x in states[k]), strict=True))
            told = " and ".join(np.array2string(row[k], precision=4) for row in (a, b))
            said = f"{name} differs from Gymnasium's in {len(wrong)} of {STATES} random states, {told} after {place}"
            yield Finding(f"parity-{name}", f"{said} with action {actions[k]}", fix)


def _compiled(world: Compiled, twin: Twin, states: np.ndarray, actions: np.ndarray) -> Any:
    environment, params = world.environment, world.params
    _, fresh = environment.reset_env(jax.random.key(0), params)

    @jax.jit
    @jax.vmap
    def step(state: Any, action: Any) -> Any:
        placed = fresh.replace(**{name: state[i] for i, name in enumerate(twin.fields)})
        return environment.step_env(jax.random.key(0), placed, action, params)

    observation, _, reward, terminated, _ = step(jnp.asarray(states, jnp.float32), jnp.asarray(actions))
    return [np.asarray(part) for part in (observation, reward, terminated)]


def _host(host: Any, state: np.ndarray, action: Any) -> tuple[np.ndarray, float, bool]:
    host.state = state.copy()
    if hasattr(host, "steps_beyond_terminated"):
        host.steps_beyond_terminated = None
    observation, reward, terminated, _, _ = host.step(action)
    return seen.flat(host.observation_space, observation), float(np.squeeze(reward)), bool(terminated)
