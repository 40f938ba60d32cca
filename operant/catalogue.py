"""Every algorithm by name, with its place on the map of the field and how many environments suit it.

Beside the library's own stand those of installed distributions, registered in their metadata under the entry-point
group `operant.algorithms`. Their names are read without importing anything; a class is imported when it is asked for.
"""

import dataclasses
import functools
import inspect
import re
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from operant.algorithms.policy.a2c import A2C
from operant.algorithms.policy.a3c import A3C
from operant.algorithms.policy.dpg import DPG
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
from operant.contracts import Algorithm
from operant.errors import OperantError, unknown
from operant.parts.component import is_component
from operant.parts.exploration import Greedy
from operant.parts.networks import MLP, Dueling, Noisy
from operant.parts.replay import Prioritised
from operant.parts.values.bootstraps import Double

GROUP = "operant.algorithms"
METHODS = [name for name in vars(Algorithm) if not name.startswith("_")]


@dataclass(frozen=True)
class Entry:
    """An algorithm's row in the catalogue."""

    name: str
    make: type
    num_envs: int = 8  # by default
    steps: int = 200_000  # by default
    learns: str = ""  # "value", "policy", "value and policy" or "nothing"; empty where nobody has said
    data: str = ""  # "on-policy", "off-policy" or "none"
    update: str = ""  # "MC" (whole returns), "TD" (bootstrapped) or "none"
    actions: str = ""  # what it can choose among
    summary: str = ""
    model: bool = False  # whether it learns or is given a model of the world
    composed: dict[str, Any] = field(default_factory=dict)  # fields in which it differs from the defaults of `make`

    def default(self) -> Any:
        """The algorithm with its default fields."""
        return self.make(**self.composed)


# Hessel et al. 2018, table 1, but for the settings that belong to Atari; priorities are the cross-entropy, not the
# divergence, which would leave the target's own entropy out.
RAINBOW: dict[str, Any] = {
    "bootstrap": Double(),
    "n_step": 3,
    "exploration": Greedy(),
    "replay": Prioritised(10_000, alpha=0.5),
    "network": Noisy(Dueling(MLP((120,), "relu", "uniform"), hidden=(84,))),
}

ENTRIES = (
    Entry("a2c", A2C, 8, 500_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "policy gradient with a critic, from short windows; A3C in step (Mnih et al. 2016)"),
    Entry("a3c", A3C, 16, 500_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "actors that learn at the same time, each on its own environments (Mnih et al. 2016)"),
    Entry("actor-critic", A2C, 8, 500_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "A2C with windows of one step (Sutton & Barto 2018, 13.5)", composed={"num_steps": 1}),
    Entry("bandit", Bandit, 1, 1_000, "value", "on-policy", "MC", "discrete",
          "sample averages of rewards; with UCB or an optimistic start too (Sutton & Barto 2018, 2.4)"),
    Entry("c51", C51, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "DQN of the distribution of the return, on fixed atoms (Bellemare et al. 2017)"),
    Entry("cql", CQL, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "DQN held down where data are missing; for learning from a dataset (Kumar et al. 2020)"),
    Entry("deep-mc", DeepMC, 8, 500_000, "value", "on-policy", "MC", "discrete",
          "action values of a network fitted to whole returns (Sutton & Barto 2018, 5.4)"),
    Entry("deep-sarsa", DeepSARSA, 4, 200_000, "value", "on-policy", "TD", "discrete",
          "SARSA with a network (Sutton & Barto 2018, 10.1)"),
    Entry("double-q-learning", DoubleQLearning, 1, 50_000, "value", "off-policy", "TD", "discrete",
          "Q-learning with two tables, without the bias of the maximum (van Hasselt 2010)"),
    Entry("dpg", DPG, 16, 200_000, "value and policy", "off-policy", "TD", "continuous",
          "actions moved along the critic's slope, from the latest windows (Silver et al. 2014)"),
    Entry("dqn", DQN, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "Q-learning with a network, replay and a target network (Mnih et al. 2015)"),
    Entry("drqn", DRQN, 8, 500_000, "value", "off-policy", "TD", "discrete",
          "DQN with memory, from sequences (Hausknecht & Stone 2015; Kapturowski et al. 2019)"),
    Entry("dyna-q", DynaQ, 1, 20_000, "value", "off-policy", "TD", "discrete",
          "Q-learning that also plans from a learned model; with a bonus Dyna-Q+ (Sutton 1990)", model=True),
    Entry("expected-sarsa", ExpectedSARSA, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "SARSA with the expectation over the next action (van Seijen et al. 2009)"),
    Entry("gradient-bandit", GradientBandit, 1, 1_000, "policy", "on-policy", "MC", "discrete",
          "preferences along the gradient of the reward (Sutton & Barto 2018, 2.8)"),
    Entry("iqn", IQN, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "DQN of the return's quantile function, at any fraction (Dabney et al. 2018)"),
    Entry("mc-prediction", MCPrediction, 8, 100_000, "value", "on-policy", "MC", "discrete",
          "a policy judged by the average of its returns (Sutton & Barto 2018, 5.1)"),
    Entry("monte-carlo", MonteCarlo, 8, 200_000, "value", "on-policy", "MC", "discrete",
          "control by averages of returns, epsilon-soft or with exploring starts (Sutton & Barto 2018, 5.3)"),
    Entry("n-step-sarsa", NStepSARSA, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "SARSA with returns of n steps (Sutton & Barto 2018, 7.2)"),
    Entry("n-step-td", NStepTD, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "values of a given policy from returns of n steps (Sutton & Barto 2018, 7.1)"),
    Entry("off-policy-mc", OffPolicyMC, 8, 200_000, "value", "off-policy", "MC", "discrete",
          "control from another policy's episodes by importance sampling (Sutton & Barto 2018, 5.7)"),
    Entry("off-policy-mc-prediction", OffPolicyMCPrediction, 8, 100_000, "value", "off-policy", "MC", "discrete",
          "a policy judged by another's episodes (Sutton & Barto 2018, 5.5)"),
    Entry("pqn", PQN, 16, 500_000, "value", "off-policy", "TD", "discrete",
          "Q-learning from many environments, without replay or target network (Gallici et al. 2024)"),
    Entry("ppo", PPO, 8, 200_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "clipped policy gradient with a critic; a sturdy first choice (Schulman et al. 2017)"),
    Entry("prioritised-sweeping", PrioritisedSweeping, 1, 20_000, "value", "off-policy", "TD", "discrete",
          "planning from a learned model where values change most (Moore & Atkeson 1993)", model=True),
    Entry("q-learning", QLearning, 1, 50_000, "value", "off-policy", "TD", "discrete",
          "off-policy TD control in a table (Watkins 1989)"),
    Entry("qr-dqn", QRDQN, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "DQN of the quantiles of the return (Dabney et al. 2018)"),
    Entry("rainbow", C51, 1, 500_000, "value", "off-policy", "TD", "discrete",
          "C51, double, dueling, noisy, prioritised, over several steps (Hessel et al. 2018)", composed=RAINBOW),
    Entry("random", Random, 8, 10_000, "nothing", "none", "none", "discrete, continuous",
          "every action equally likely: the mark that learning has to beat"),
    Entry("reinforce", REINFORCE, 8, 500_000, "policy", "on-policy", "MC", "discrete, continuous",
          "the plain score-function gradient from whole episodes (Williams 1992)"),
    Entry("sarsa", SARSA, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "on-policy TD control in a table (Rummery & Niranjan 1994)"),
    Entry("sarsa-lambda", SARSALambda, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "SARSA with eligibility traces (van Seijen et al. 2016)"),
    Entry("semi-gradient-sarsa", SemiGradientSARSA, 1, 100_000, "value", "on-policy", "TD", "discrete",
          "action values linear in tiles (Sutton & Barto 2018, 10.1)"),
    Entry("semi-gradient-td", SemiGradientTD, 1, 100_000, "value", "on-policy", "TD", "discrete",
          "the values of acting at random, linear in tiles (Sutton & Barto 2018, 9.3)"),
    Entry("td", TD, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "values of a given policy by one-step temporal differences (Sutton 1988)"),
    Entry("td-lambda", TDLambda, 1, 50_000, "value", "on-policy", "TD", "discrete",
          "values of a given policy with eligibility traces (Sutton 1988; van Seijen et al. 2016)"),
    Entry("tree-backup", TreeBackup, 1, 50_000, "value", "off-policy", "TD", "discrete",
          "n-step returns without importance sampling (Precup et al. 2000)"),
    Entry("trpo", TRPO, 8, 200_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "natural policy gradient, each step within a bound on the divergence (Schulman et al. 2015)"),
    Entry("vpg", VPG, 8, 500_000, "value and policy", "on-policy", "TD", "discrete, continuous",
          "the plain policy gradient with a learned baseline (Sutton et al. 2000)"),
    Entry("watkins-q-lambda", WatkinsQLambda, 1, 50_000, "value", "off-policy", "TD", "discrete",
          "Q-learning with eligibility traces, cut by exploring (Watkins 1989)"),
)  # fmt: skip
_OWN = {entry.name: entry for entry in ENTRIES}


def names() -> list[str]:
    """The names of all algorithms, the library's own first; nothing is imported."""
    return [*_OWN, *_registered()]


def find(name: str) -> Entry:
    """The entry called `name`.

    Raises `OperantError`, with the nearest name, where there is none, and where what a distribution registered under it
    cannot be imported or is no algorithm.
    """
    name = name.lower()
    if name in _OWN:
        return _OWN[name]
    registered = _registered()
    if name in registered:
        return _read(name, registered[name])
    raise unknown("algorithm", name, [*_OWN, *registered])


def entry_of(algorithm: Any) -> Entry | None:
    """The entry of an algorithm object, None for one that is not in the catalogue."""
    own = next((entry for entry in ENTRIES if type(algorithm) is entry.make and not entry.composed), None)
    return own or next(
        (_read(name, point) for name, point in _registered().items() if _imported(point) is type(algorithm)), None
    )


def _registered() -> dict[str, EntryPoint]:
    """What installed distributions register; said once, what is left out because its name is taken or is no name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in _OWN or found.setdefault(point.name, point) is not point:
            _say(f"{point.value}: left out, the algorithm {point.name!r} is another's")
        elif not re.fullmatch(r"[a-z0-9]+([-_.][a-z0-9]+)*", point.name):
            _say(f"{point.value}: left out, {point.name!r} is no name of lower-case letters, digits and dashes")
            del found[point.name]
    return found


def _read(name: str, point: EntryPoint) -> Entry:
    """The entry of a registered class; its attribute `catalogue`, a dict, may hold fields of `Entry`."""
    where = f"algorithm {name!r}, registered as {point.value}"
    try:
        cls = point.load()
    except Exception as error:
        raise OperantError(
            f"{where}: cannot be imported ({type(error).__name__}: {error})".replace("\n", " ")
        ) from error
    lacking = [method for method in METHODS if not callable(getattr(cls, method, None))]
    if not isinstance(cls, type) or not is_component(cls) or lacking:
        raise OperantError(f"{where}: is no class made with operant.component that has {', '.join(METHODS)}")
    needed = [field.name for field in dataclasses.fields(cls) if field.init and _has_no_default(field)]
    if needed:
        raise OperantError(f"{where}: needs a default for its {needed[0]}")
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    told: dict[str, Any] = {"summary": summary} | _place(cls, where)
    return Entry(name, cls, **told)


def _place(cls: type, where: str) -> dict[str, Any]:
    told = getattr(cls, "catalogue", {})
    kinds = {field.name: field.type for field in dataclasses.fields(Entry)[2:] if field.name != "composed"}
    for key, value in told.items() if isinstance(told, dict) else [("catalogue", told)]:
        if type(value) is not kinds.get(key):
            raise OperantError(f"{where}: its place in the catalogue cannot be {key}={value!r}")
    return told


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _imported(point: EntryPoint) -> Any:
    """What `point` names, where its module is imported already."""
    return functools.reduce(
        lambda value, name: getattr(value, name, None), point.attr.split("."), sys.modules.get(point.module)
    )


@functools.cache
def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
