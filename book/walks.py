"""Random walks: one-step and n-step TD, constant-alpha Monte Carlo, and TD(lambda)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from book.harness import COLOURS, Figure, Number, curves, png, sheet, statistical
from book.recording import record
from operant import finite
from operant.algorithms.tabular.mc_prediction import MCPrediction
from operant.algorithms.tabular.n_step_td import NStepTD
from operant.algorithms.tabular.td import TD
from operant.algorithms.tabular.td_lambda import TDLambda
from operant.environments.compiled import Compiled
from operant.environments.finite import Finite

TD_ERRORS = {0.05: 0.035, 0.1: 0.056, 0.15: 0.070}  # by alpha, after 100 episodes
MC_ERRORS = {0.01: 0.097, 0.02: 0.082, 0.03: 0.093, 0.04: 0.109}
BEST = {1: (0.8, 0.346), 2: (0.6, 0.280), 4: (0.4, 0.267), 8: (0.2, 0.281), 16: (0.1, 0.323)}  # n: alpha and error
ALPHAS = tuple(round(0.1 * k, 1) for k in range(1, 11))
DECAYS = (0.0, 0.4, 0.8, 0.9, 0.95, 0.975, 0.99, 1.0)
LONGEST = 100  # steps of an episode of the short walk; one in two million is longer


def rms_error(mdp: finite.MDP) -> Callable[[Any], Array]:
    """The measure of a prediction: its root mean square error over the states that are not terminal."""
    truth = jnp.asarray(finite.solve(mdp, "random-policy").values[1:-1], jnp.float32)
    return lambda policy: jnp.sqrt(jnp.mean((policy.values[1:-1] - truth) ** 2))


def figure_6_2(
    runs: int = 1000, td: dict[float, float] = TD_ERRORS, mc: dict[float, float] = MC_ERRORS, episodes: int = 100
) -> Figure:
    mdp = replace(finite.problems.random_walk(5, left=0.0), horizon=LONGEST)
    world, measure = Compiled(Finite(mdp)), rms_error(mdp)
    start = float(measure(_Constant(mdp.num_states, 0.5)))
    canvas, (axes,) = sheet()
    numbers = []
    sides = (
        ("TD", td, [TD(learning_rate=alpha, initial_value=0.5) for alpha in td]),
        ("MC", mc, [MCPrediction(learning_rate=alpha, initial_value=0.5, visits="every") for alpha in mc]),
    )
    for (name, known, learners), colour in zip(sides, COLOURS, strict=False):
        errors = record(learners, world, episodes, runs, measure).measures
        for k, (alpha, expected) in enumerate(known.items()):
            curve = np.append(start, errors[k].mean(axis=0))
            axes.plot(curve, color=colour, alpha=1 - 0.22 * k, linewidth=1.5, label=f"{name}, α = {alpha}")
            numbers.append(statistical(f"{name}, α = {alpha}", errors[k, :, -1], expected, 0.0005, 1000))
    curves(axes, "episodes", "RMS error, averaged over states")
    text = (
        f"Random walk of five states (example 6.2), {runs} runs. TD(0) and constant-α Monte Carlo (every visit), all "
        f"values starting at 0.5. The numbers are the error after {episodes} episodes."
    )
    return Figure("figure-6-2", "Figure 6.2: TD(0) and Monte Carlo on a random walk", text, png(canvas), numbers)


class _Constant:
    """A prediction that is alike in all states."""

    def __init__(self, states: int, value: float):
        self.values = jnp.full(states, value)


def early_errors(learners: list, runs: int, seed: int = 0) -> np.ndarray:
    """The RMS error on the walk of 19 states, averaged over the first ten episodes; `[settings, runs]`."""
    mdp = finite.problems.random_walk(19)
    return record(learners, Compiled(Finite(mdp)), 10, runs, rms_error(mdp), seed).measures.mean(axis=2)


def figure_7_2(runs: int = 500, alphas: tuple[float, ...] = ALPHAS, best: dict = BEST) -> Figure:
    canvas, (axes,) = sheet()
    numbers = []
    for (n, (alpha, expected)), colour in zip(best.items(), COLOURS, strict=False):
        errors = early_errors([NStepTD(n=n, learning_rate=each) for each in alphas], runs)
        means = errors.mean(axis=1)
        axes.plot(alphas, means, ".-", color=colour, label=f"n = {n}")
        numbers.append(statistical(f"n = {n}, α = {alpha}", errors[alphas.index(alpha)], expected, 0.0005, 500))
        if len(alphas) > 1:
            numbers.append(Number(f"n = {n}: best α", alphas[int(np.argmin(means))], alpha, 0.1001, 1))
    axes.set_ylim(0.25, 0.55)
    curves(axes, "α", "RMS error, first 10 episodes")
    text = (
        f"Random walk of 19 states (example 7.1), {runs} runs. n-step TD for several n and α: the error averaged over "
        "states and the first ten episodes. The best α must be the known one or its neighbour."
    )
    return Figure("figure-7-2", "Figure 7.2: n-step TD on the 19-state random walk", text, png(canvas), numbers)


def figure_12_8(runs: int = 100) -> Figure:
    canvas, (axes,) = sheet()
    pairs = [(decay, alpha) for decay in DECAYS for alpha in ALPHAS]
    learners = [TDLambda(trace_decay=decay, learning_rate=alpha, traces="dutch") for decay, alpha in pairs]
    errors = early_errors(learners, runs).reshape(len(DECAYS), len(ALPHAS), runs)
    for decay, row, colour in zip(DECAYS, errors, COLOURS, strict=True):
        axes.plot(ALPHAS, row.mean(axis=1), ".-", color=colour, label=f"λ = {decay:g}")
    axes.set_ylim(0.25, 0.55)
    curves(axes, "α", "RMS error, first 10 episodes")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))  # lines go everywhere
    alpha, expected = BEST[1]
    # Without traces it is one-step TD, and must show what that shows.
    numbers = [statistical(f"λ = 0, α = {alpha}", errors[0, ALPHAS.index(alpha)], expected, 0.0005, 500)]
    text = (
        f"The same walk, {runs} runs, with true online TD(λ). λ = 0 is n-step TD with n = 1, whose error it must have."
    )
    return Figure("figure-12-8", "Figure 12.8: true online TD(λ) on the 19-state walk", text, png(canvas), numbers)
