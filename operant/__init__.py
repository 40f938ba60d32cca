"""Operant: reinforcement learning, from exact dynamic programming to deep networks, in one library.

The names below are imported when they are first used, so that `import operant` costs nothing and a part that
works without JAX never loads it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operant import environments, equations, finite
    from operant.algorithms.policy.ppo import PPO
    from operant.algorithms.policy.random import Random
    from operant.algorithms.policy.reinforce import REINFORCE
    from operant.algorithms.value.dqn import DQN
    from operant.api import Agent, Agents, load, resume, train
    from operant.environments import make
    from operant.learner import Learner

__version__ = "0.1.0"

_HOMES = {
    "Agent": "operant.api",
    "Agents": "operant.api",
    "load": "operant.api",
    "resume": "operant.api",
    "train": "operant.api",
    "make": "operant.environments",
    "Learner": "operant.learner",
    "PPO": "operant.algorithms.policy.ppo",
    "REINFORCE": "operant.algorithms.policy.reinforce",
    "Random": "operant.algorithms.policy.random",
    "DQN": "operant.algorithms.value.dqn",
}
_ROOMS = ("environments", "equations", "finite")

__all__ = [
    "DQN",
    "PPO",
    "REINFORCE",
    "Agent",
    "Agents",
    "Learner",
    "Random",
    "environments",
    "equations",
    "finite",
    "load",
    "make",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"operant.{name}")
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    from operant.synonyms import PACKAGE
    from operant.words import unknown_name

    raise unknown_name("module 'operant'", name, __all__, PACKAGE)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
