"""Every algorithm by name, with its place on the map of the field and how many environments suit it."""

from dataclasses import dataclass
from typing import Any

from operant.algorithms.policy.ppo import PPO
from operant.algorithms.policy.random import Random
from operant.algorithms.policy.reinforce import REINFORCE
from operant.algorithms.tabular.q_learning import QLearning
from operant.algorithms.value.dqn import DQN
from operant.errors import unknown


@dataclass(frozen=True)
class Entry:
    """An algorithm's row in the catalogue."""

    name: str
    make: type
    num_envs: int  # by default
    steps: int  # by default
    learns: str  # "value", "policy", "value and policy" or "nothing"
    data: str  # "on-policy", "off-policy" or "none"
    update: str  # "MC" (whole returns), "TD" (bootstrapped) or "none"
    actions: str  # what it can choose among
    summary: str
    model: bool = False  # whether it learns or is given a model of the world


ENTRIES = (
    Entry("dqn", DQN, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "Q-learning with a network, replay and a target network (Mnih et al. 2015)"),
    Entry("ppo", PPO, 8, 200_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "clipped policy gradient with a critic; a sturdy first choice (Schulman et al. 2017)"),
    Entry("q-learning", QLearning, 1, 50_000, "value", "off-policy", "TD", "discrete",
          "off-policy TD control in a table (Watkins 1989)"),
    Entry("random", Random, 8, 10_000, "nothing", "none", "none", "discrete, continuous",
          "every action equally likely: the mark that learning has to beat"),
    Entry("reinforce", REINFORCE, 8, 500_000, "policy", "on-policy", "MC", "discrete, continuous",
          "the plain score-function gradient from whole episodes (Williams 1992)"),
)  # fmt: skip
BY_NAME = {entry.name: entry for entry in ENTRIES}


def find(name: str) -> Entry:
    """The entry called `name`. Raises `OperantError`, with the nearest name, where there is none."""
    if name.lower() in BY_NAME:
        return BY_NAME[name.lower()]
    raise unknown("algorithm", name, BY_NAME)


def entry_of(algorithm: Any) -> Entry | None:
    """The entry of an algorithm object, None for one that is not in the catalogue."""
    return next((entry for entry in ENTRIES if type(algorithm) is entry.make), None)
