"""Operant: reinforcement learning, from exact dynamic programming to deep networks, in one library.

The names below are imported when they are first used, so that `import operant` costs nothing and a part that
works without JAX never loads it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operant import environments, equations, finite
    from operant.algorithms.policy.a2c import A2C
    from operant.algorithms.policy.a3c import A3C
    from operant.algorithms.policy.ppo import PPO
    from operant.algorithms.policy.random import Random
    from operant.algorithms.policy.reinforce import REINFORCE
    from operant.algorithms.policy.trpo import TRPO
    from operant.algorithms.policy.vpg import VPG
    from operant.algorithms.tabular.bandit import Bandit
    from operant.algorithms.tabular.double_q_learning import DoubleQLearning
    from operant.algorithms.tabular.dyna_q import DynaQ
    from operant.algorithms.tabular.expected_sarsa import ExpectedSARSA
    from operant.algorithms.tabular.gradient_bandit import GradientBandit
    from operant.algorithms.tabular.mc_prediction import MCPrediction
    from operant.algorithms.tabular.monte_carlo import MonteCarlo
    from operant.algorithms.tabular.n_step_sarsa import NStepSARSA
    from operant.algorithms.tabular.n_step_td import NStepTD
    from operant.algorithms.tabular.off_policy_mc import OffPolicyMC
    from operant.algorithms.tabular.off_policy_mc_prediction import OffPolicyMCPrediction
    from operant.algorithms.tabular.prioritised_sweeping import PrioritisedSweeping
    from operant.algorithms.tabular.q_learning import QLearning
    from operant.algorithms.tabular.sarsa import SARSA
    from operant.algorithms.tabular.sarsa_lambda import SARSALambda
    from operant.algorithms.tabular.td import TD
    from operant.algorithms.tabular.td_lambda import TDLambda
    from operant.algorithms.tabular.tree_backup import TreeBackup
    from operant.algorithms.tabular.watkins_q_lambda import WatkinsQLambda
    from operant.algorithms.value.c51 import C51
    from operant.algorithms.value.cql import CQL
    from operant.algorithms.value.deep_mc import DeepMC
    from operant.algorithms.value.deep_sarsa import DeepSARSA
    from operant.algorithms.value.dqn import DQN
    from operant.algorithms.value.drqn import DRQN
    from operant.algorithms.value.iqn import IQN
    from operant.algorithms.value.pqn import PQN
    from operant.algorithms.value.qr_dqn import QRDQN
    from operant.algorithms.value.semi_gradient_sarsa import SemiGradientSARSA
    from operant.algorithms.value.semi_gradient_td import SemiGradientTD
    from operant.api import Agent, Agents, load, resume, train
    from operant.checking.run import check
    from operant.core.data.datasets import Dataset
    from operant.environments import make
    from operant.grids import Grid
    from operant.learner import Learner
    from operant.parts.component import component
    from operant.portable.policy import load_numpy
    from operant.recording import export_dataset, export_replay

__version__ = "0.1.0"

_HOMES = {
    "Agent": "operant.api",
    "Agents": "operant.api",
    "load": "operant.api",
    "resume": "operant.api",
    "train": "operant.api",
    "check": "operant.checking.run",
    "make": "operant.environments",
    "Grid": "operant.grids",
    "Learner": "operant.learner",
    "component": "operant.parts.component",
    "load_numpy": "operant.portable.policy",
    "Dataset": "operant.core.data.datasets",
    "export_dataset": "operant.recording",
    "export_replay": "operant.recording",
    "A2C": "operant.algorithms.policy.a2c",
    "A3C": "operant.algorithms.policy.a3c",
    "PPO": "operant.algorithms.policy.ppo",
    "REINFORCE": "operant.algorithms.policy.reinforce",
    "TRPO": "operant.algorithms.policy.trpo",
    "VPG": "operant.algorithms.policy.vpg",
    "Random": "operant.algorithms.policy.random",
    "C51": "operant.algorithms.value.c51",
    "CQL": "operant.algorithms.value.cql",
    "DeepMC": "operant.algorithms.value.deep_mc",
    "DeepSARSA": "operant.algorithms.value.deep_sarsa",
    "DQN": "operant.algorithms.value.dqn",
    "DRQN": "operant.algorithms.value.drqn",
    "IQN": "operant.algorithms.value.iqn",
    "PQN": "operant.algorithms.value.pqn",
    "QRDQN": "operant.algorithms.value.qr_dqn",
    "Bandit": "operant.algorithms.tabular.bandit",
    "DynaQ": "operant.algorithms.tabular.dyna_q",
    "GradientBandit": "operant.algorithms.tabular.gradient_bandit",
    "MCPrediction": "operant.algorithms.tabular.mc_prediction",
    "MonteCarlo": "operant.algorithms.tabular.monte_carlo",
    "OffPolicyMC": "operant.algorithms.tabular.off_policy_mc",
    "OffPolicyMCPrediction": "operant.algorithms.tabular.off_policy_mc_prediction",
    "PrioritisedSweeping": "operant.algorithms.tabular.prioritised_sweeping",
    "SemiGradientSARSA": "operant.algorithms.value.semi_gradient_sarsa",
    "SemiGradientTD": "operant.algorithms.value.semi_gradient_td",
    "DoubleQLearning": "operant.algorithms.tabular.double_q_learning",
    "ExpectedSARSA": "operant.algorithms.tabular.expected_sarsa",
    "NStepSARSA": "operant.algorithms.tabular.n_step_sarsa",
    "NStepTD": "operant.algorithms.tabular.n_step_td",
    "QLearning": "operant.algorithms.tabular.q_learning",
    "SARSA": "operant.algorithms.tabular.sarsa",
    "SARSALambda": "operant.algorithms.tabular.sarsa_lambda",
    "TD": "operant.algorithms.tabular.td",
    "TDLambda": "operant.algorithms.tabular.td_lambda",
    "TreeBackup": "operant.algorithms.tabular.tree_backup",
    "WatkinsQLambda": "operant.algorithms.tabular.watkins_q_lambda",
}
_ROOMS = ("environments", "equations", "finite")

__all__ = [
    "A2C",
    "A3C",
    "C51",
    "CQL",
    "DQN",
    "DRQN",
    "IQN",
    "PPO",
    "PQN",
    "QRDQN",
    "REINFORCE",
    "SARSA",
    "TD",
    "TRPO",
    "VPG",
    "Agent",
    "Agents",
    "Bandit",
    "Dataset",
    "DeepMC",
    "DeepSARSA",
    "DoubleQLearning",
    "DynaQ",
    "ExpectedSARSA",
    "GradientBandit",
    "Grid",
    "Learner",
    "MCPrediction",
    "MonteCarlo",
    "NStepSARSA",
    "NStepTD",
    "OffPolicyMC",
    "OffPolicyMCPrediction",
    "PrioritisedSweeping",
    "QLearning",
    "Random",
    "SARSALambda",
    "SemiGradientSARSA",
    "SemiGradientTD",
    "TDLambda",
    "TreeBackup",
    "WatkinsQLambda",
    "check",
    "component",
    "environments",
    "equations",
    "export_dataset",
    "export_replay",
    "finite",
    "load",
    "load_numpy",
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
