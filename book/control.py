"""Control: the cliff, maximisation bias, and planning in mazes."""

import numpy as np

from book.harness import COLOURS, WIDTH, Figure, Number, curves, exact, png, sheet, statistical
from book.recording import record
from operant import finite
from operant.algorithms.tabular.double_q_learning import DoubleQLearning
from operant.algorithms.tabular.dyna_q import DynaQ
from operant.algorithms.tabular.q_learning import QLearning
from operant.algorithms.tabular.sarsa import SARSA
from operant.environments.compiled import Compiled
from operant.environments.finite import Finite
from operant.environments.make import make
from operant.environments.mazes import ChangingMaze, Schedule
from operant.finite.mdp import MDP
from operant.parts.exploration import EpsilonGreedy

Q_STAR_EXPLORING = -50.800  # Q* of the cliff acted with epsilon = 0.1, computed exactly
CLIFF = {"SARSA": (SARSA, -25.0), "Q-learning": (QLearning, -50.0)}  # online returns, quoted loosely
LOOSE = 2.5  # how far a number that is quoted loosely may be off, beside the standard errors
NEAR = {0: (25, 30), 5: (5, 5), 50: (3, 4)}  # planning steps: the episodes by which Dyna-Q is nearly optimal
NEARLY = 1.5
READING = 1  # episodes; how well a curve can be read
SHORTEST = 10  # steps of an episode in the mazes that change


def acted(mdp: MDP, epsilon: float) -> float:
    """The exact value of an episode in which Q* is acted epsilon-greedily, equal actions alike."""
    optimal = finite.value_iteration(mdp).action_values
    best = np.isclose(optimal, optimal.max(axis=1, keepdims=True), rtol=0, atol=1e-6)
    policy = epsilon / best.shape[1] + (1 - epsilon) * best / best.sum(axis=1, keepdims=True)
    return finite.policy_evaluation(mdp, policy).start_value


def figure_6_6(runs: int = 250, episodes: int = 2000) -> Figure:
    mdp, shown, late = finite.problems.cliff(), 500, 100
    limit = acted(mdp, 0.1)
    numbers = [exact("Q* acted with ε = 0.1, exactly", limit, Q_STAR_EXPLORING, 3)]
    canvas, (axes,) = sheet()
    for (name, (learner, loosely)), colour in zip(CLIFF.items(), COLOURS, strict=False):
        returns = record([learner(0.5, exploration=EpsilonGreedy(0.1))], Compiled(Finite(mdp)), episodes, runs).returns
        axes.plot(returns[0, :, :shown].mean(axis=0), color=colour, linewidth=1.0, label=name)
        samples = returns[0, :, shown - late : shown].mean(axis=1)
        numbers.append(statistical(f"{name}, the last {late} of {shown} episodes", samples, loosely, LOOSE, 100, 1))
    settled = returns[0, :, episodes // 2 :].mean(axis=1)
    error = WIDTH * float(np.std(settled, ddof=1)) / np.sqrt(runs)
    label = f"Q-learning, episodes {episodes // 2} to {episodes}"
    numbers.append(Number(label, float(settled.mean()), limit, error, 2))
    axes.axhline(limit, color=COLOURS[5], linewidth=0.8, linestyle="--", label="Q* acted with ε = 0.1, exactly")
    axes.set_ylim(-100, 0)
    curves(axes, "episodes", "sum of rewards in an episode")
    text = (
        f"The cliff (example 6.6), {runs} runs, α = 0.5, ε = 0.1: returns while learning. The book's curves are quoted "
        f"loosely, to ± {LOOSE}. What Q-learning tends to is known exactly, and reached after some 750 episodes."
    )
    return Figure("figure-6-6", "Figure 6.6: SARSA and Q-learning on the cliff", text, png(canvas), numbers)


def two_ways(num_actions: int = 10, points: int = 9) -> MDP:
    """Example 6.7 with as many actions in A as in B: half of them go left, to B, the others right, to the end."""

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        return paid if state else [(1.0, 1 if action < num_actions // 2 else 2, 0.0, False)]

    paid = finite.problems.maximisation_bias(num_actions, points=points).outcomes(1, 0)
    return MDP.from_function(3, num_actions, outcomes, terminal=[2], start=np.eye(3)[0], discount=1.0)


def figure_6_5(runs: int = 2000, episodes: int = 300) -> Figure:
    world = Compiled(Finite(two_ways()))
    canvas, (axes,) = sheet()
    left = {}
    for (name, learner), colour in zip(
        (("Q-learning", QLearning), ("Double Q-learning", DoubleQLearning)), COLOURS, strict=False
    ):
        found = record([learner(0.1, exploration=EpsilonGreedy(0.1))], world, episodes, runs)
        left[name] = 100 * (found.first_actions[0] < 5).mean(axis=0)
        axes.plot(left[name], color=colour, linewidth=1.2, label=name)
    axes.axhline(5.0, color=COLOURS[5], linewidth=0.8, linestyle="--", label="optimal")
    axes.set_ylim(0, 100)
    curves(axes, "episodes", "left actions from A, %")
    text = (
        f"Maximisation bias (example 6.7), {runs} runs, α = 0.1, ε = 0.1. Here both states have ten actions, of which "
        "five lead left from A, where the book has one of two. Half of all and 5 % in the limit are the same, but the "
        "curves are not the book's."
    )
    return Figure("figure-6-5", "Figure 6.5: maximisation bias", text, png(canvas))


def near_optimal(lengths: np.ndarray) -> tuple[int, float]:
    """The first episode from which on the mean length over runs `[runs, episodes]` stays nearly optimal, and the bound.

    Nearly: at most `NEARLY` times as long as the optimal path explored with epsilon = 0.1 takes.
    """
    mdp = finite.problems.dyna_maze().stored()
    costs = MDP.from_function(
        mdp.num_states, mdp.num_actions,
        lambda s, a: [(p, t, -1.0, end) for p, t, _, end in mdp.outcomes(s, a)],
        terminal=mdp.terminal, start=mdp.start, discount=1.0,
    )  # fmt: skip
    bound = -NEARLY * acted(costs, 0.1)
    late = np.flatnonzero(lengths.mean(axis=0) > bound)
    return (int(late[-1]) + 2 if len(late) else 1), bound  # episodes count from one


def figure_8_2(runs: int = 100, episodes: int = 50) -> Figure:
    canvas, (axes,) = sheet()
    numbers = []
    for (planning, (low, high)), colour in zip(NEAR.items(), COLOURS, strict=False):
        lengths = record([DynaQ(0.1, 0.95, planning_steps=planning)], make("dyna-maze"), episodes, runs).lengths[0]
        axes.plot(np.arange(1, episodes + 1), lengths.mean(axis=0), color=colour, label=f"{planning} planning steps")
        episode, bound = near_optimal(lengths)
        label = f"{planning} planning steps: nearly optimal from episode"
        numbers.append(Number(label, episode, (low + high) / 2, (high - low) / 2 + READING, 1))
    axes.set(ylim=(0, 800), xlim=(1, episodes))
    axes.axhline(14, color=COLOURS[5], linewidth=0.8, linestyle="--", label="the shortest path")
    curves(axes, "episodes", "steps per episode")
    text = (
        f"The Dyna maze (example 8.1), {runs} runs, α = 0.1, γ = 0.95, ε = 0.1. Nearly optimal is a mean of at most "
        f"{bound:.1f} steps from there on: half as long again as the shortest path, 14 steps, becomes by exploring. "
        f"The episodes that are expected were read off a curve, to ± {READING}."
    )
    return Figure("figure-8-2", "Figure 8.2: Dyna-Q in a maze", text, png(canvas), numbers)


def rewarded(learner: DynaQ, world: Compiled, steps: int, runs: int) -> np.ndarray:
    """The mean reward collected by each time step: each episode's end pays one; `[steps]`."""
    lengths = record([learner], world, steps // SHORTEST, runs, steps=steps).lengths[0]
    ends = np.cumsum(lengths, axis=1)[lengths > 0].astype(int)
    return np.cumsum(np.bincount(ends, minlength=steps + 1)[: steps + 1]) / runs


def _changing(
    name: str, title: str, layouts: tuple[str, str], change: int, steps: int, planning: int, bonus: float, runs: int
) -> Figure:
    world = Compiled(ChangingMaze(*layouts), Schedule(change))
    canvas, (axes,) = sheet()
    for (label, kappa), colour in zip((("Dyna-Q", None), ("Dyna-Q+", bonus)), COLOURS, strict=False):
        learner = DynaQ(1.0, 0.95, planning_steps=planning, bonus=kappa)
        axes.plot(rewarded(learner, world, steps, runs), color=colour, label=label)
    axes.axvline(change, color=COLOURS[5], linewidth=0.8, linestyle="--", label="the walls move")
    curves(axes, "time steps", "cumulative reward")
    text = (
        f"{runs} runs, with settings that the book leaves open: α = 1, γ = 0.95, ε = 0.1, {planning} planning steps, "
        f"κ = {bonus:g}."
    )
    return Figure(name, title, text, png(canvas))


def figure_8_4(runs: int = 20) -> Figure:
    title = "Figure 8.4: Dyna-Q and Dyna-Q+ when the way is blocked"
    return _changing("figure-8-4", title, ("blocking", "blocked"), 1000, 3000, 10, 1e-4, runs)


def figure_8_5(runs: int = 20) -> Figure:
    title = "Figure 8.5: Dyna-Q and Dyna-Q+ when a shortcut opens"
    return _changing("figure-8-5", title, ("shortcut", "shortcut-open"), 3000, 6000, 50, 1e-3, runs)
