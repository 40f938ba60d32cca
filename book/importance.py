"""Off-policy Monte Carlo with ordinary importance sampling whose variance is infinite."""

import numpy as np

from book.harness import COLOURS, Figure, curves, png, sheet
from book.recording import record
from operant.algorithms.tabular.off_policy_mc_prediction import OffPolicyMCPrediction
from operant.environments.compiled import Compiled
from operant.environments.finite import Finite
from operant.finite.mdp import MDP
from operant.parts.tabular.tables import TablePolicy

LONGEST = 32  # steps of an episode; the behaviour goes on with probability 0.45


def one_state() -> MDP:
    """Example 5.5: left (0) stays with probability 0.9 and else ends with reward 1, right (1) ends with nothing."""

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        return [(1.0, 1, 0.0, False)] if action else [(0.9, 0, 0.0, False), (0.1, 1, 1.0, False)]

    return MDP.from_function(2, 2, outcomes, terminal=[1], start=np.eye(2)[0], discount=1.0, horizon=LONGEST)


def figure_5_4(runs: int = 10, episodes: int = 20_000) -> Figure:
    always_left = TablePolicy(((1.0, 0.0), (1.0, 0.0)))
    world = Compiled(Finite(one_state()))
    shown = np.unique(np.geomspace(1, episodes, 1000).astype(int))  # more cannot be seen
    canvas, (axes,) = sheet()
    for weighting, colour in zip(("ordinary", "weighted"), COLOURS, strict=False):
        learner = OffPolicyMCPrediction(always_left, weighting=weighting)
        found = record([learner], world, episodes, runs, lambda policy: policy.values[0]).measures[0]
        for k, row in enumerate(found):
            axes.plot(shown, row[shown - 1], color=colour, linewidth=0.9, label="_" if k else f"{weighting} weights")
    axes.set(xscale="log", ylim=(0, 3))
    curves(axes, "episodes", "estimate of v = 1")
    text = (
        f"Example 5.5, {runs} runs of {episodes:,} episodes. The value is 1; ordinary importance sampling has it on "
        "average, but with infinite variance, and does not settle. Weighted, it is 1 once an episode has counted."
    )
    return Figure("figure-5-4", "Figure 5.4: ordinary importance sampling does not settle", text, png(canvas))
