"""The ten-armed testbed: epsilon-greedy, optimistic starts, upper confidence bounds, gradient bandits."""

import numpy as np

from book.harness import COLOURS, Figure, curves, png, sheet, statistical
from book.recording import Learner, record
from operant.algorithms.tabular.bandit import Bandit
from operant.algorithms.tabular.gradient_bandit import GradientBandit
from operant.environments.bandits import Arms, BanditTestbed
from operant.environments.compiled import Compiled
from operant.parts.exploration import UCB, EpsilonGreedy

PULLS = 1000
LAST = 100  # pulls that the numbers are averaged over
KNOWN = {0.0: (1.05, 0.37), 0.01: (1.30, 0.60), 0.1: (1.38, 0.79)}  # epsilon: reward and share of the best action


def pulled(learners: list[Learner], runs: int, mean: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The rewards, and whether the best arm was pulled; `[settings, runs, pulls]`. Every run has arms of its own."""
    world = Compiled(BanditTestbed(), Arms(problem=None, mean=mean))
    found = record(learners, world, PULLS, runs)
    return found.returns, found.first_actions == found.worlds.argmax(axis=-1)[..., None]


def figure_2_2(runs: int = 2000, known: dict[float, tuple[float, float]] = KNOWN) -> Figure:
    rewards, best = pulled([Bandit(exploration=EpsilonGreedy(epsilon)) for epsilon in known], runs)
    canvas, (left, right) = sheet(2, width=10.0)
    numbers = []
    for k, (epsilon, (reward, share)) in enumerate(known.items()):
        left.plot(rewards[k].mean(axis=0), color=COLOURS[k], linewidth=1.0, label=f"ε = {epsilon}")
        right.plot(100 * best[k].mean(axis=0), color=COLOURS[k], linewidth=1.0, label=f"ε = {epsilon}")
        late = rewards[k, :, -LAST:].mean(axis=1), best[k, :, -LAST:].mean(axis=1)
        numbers.append(statistical(f"ε = {epsilon}: reward", late[0], reward, 0.005, 2000, 2))
        numbers.append(statistical(f"ε = {epsilon}: share of the optimal action", late[1], share, 0.005, 2000))
    curves(left, "steps", "average reward")
    curves(right, "steps", "optimal action, %")
    text = f"{runs} problems of ten arms, sample averages; the numbers are means over the last {LAST} of {PULLS} steps."
    return Figure("figure-2-2", "Figure 2.2: ε-greedy on the ten-armed testbed", text, png(canvas), numbers)


def figure_2_3(runs: int = 2000) -> Figure:
    sides = {"optimistic, greedy: Q₁ = 5, ε = 0": (0.0, 5.0), "realistic, ε-greedy: Q₁ = 0, ε = 0.1": (0.1, 0.0)}
    _, best = pulled([Bandit(0.1, EpsilonGreedy(epsilon), value) for epsilon, value in sides.values()], runs)
    canvas, (axes,) = sheet()
    for name, row, colour in zip(sides, best, COLOURS, strict=False):
        axes.plot(100 * row.mean(axis=0), color=colour, linewidth=1.0, label=name)
    curves(axes, "steps", "optimal action, %")
    text = f"{runs} problems; a constant learning rate of 0.1. The early spike is where every arm has been pulled once."
    return Figure("figure-2-3", "Figure 2.3: optimistic initial values", text, png(canvas))


def figure_2_4(runs: int = 2000) -> Figure:
    canvas, (axes,) = sheet()
    rules = {"UCB, c = 2": UCB(2.0), "ε-greedy, ε = 0.1": EpsilonGreedy(0.1)}
    for (name, rule), colour in zip(rules.items(), COLOURS, strict=False):
        rewards, _ = pulled([Bandit(exploration=rule)], runs)
        axes.plot(rewards[0].mean(axis=0), color=colour, linewidth=1.0, label=name)
    curves(axes, "steps", "average reward")
    text = f"{runs} problems, sample averages. The spike at the 11th step is where UCB has pulled every arm once."
    return Figure("figure-2-4", "Figure 2.4: upper confidence bounds", text, png(canvas))


def figure_2_5(runs: int = 1000) -> Figure:
    canvas, (axes,) = sheet()
    for baseline, colour in zip((True, False), COLOURS, strict=False):
        _, best = pulled([GradientBandit(rate, baseline) for rate in (0.1, 0.4)], runs, mean=4.0)
        for rate, row, style in zip((0.1, 0.4), best, ("-", ":"), strict=True):
            said = f"α = {rate}, {'with' if baseline else 'without'} baseline"
            axes.plot(100 * row.mean(axis=0), style, color=colour, linewidth=1.2, label=said)
    curves(axes, "steps", "optimal action, %")
    text = f"{runs} problems whose arms are worth 4 on average, a level that only the baseline takes out."
    return Figure("figure-2-5", "Figure 2.5: gradient bandits", text, png(canvas))
