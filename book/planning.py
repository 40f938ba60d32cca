"""What is computed exactly: gridworlds, car rental, the gambler, blackjack."""

import numpy as np

from book.harness import COLOURS, Figure, Number, curves, exact, image, png, sheet
from operant import finite
from operant.finite import problems

RANDOM_5X5 = (3.309, 8.789, 4.428, 5.322, 1.492)  # row 0
OPTIMAL_5X5 = (21.977, 24.419, 21.977, 19.419, 17.477)
RANDOM_4X4 = (0, -14, -20, -22, -14, -18, -20, -20)  # rows 0 and 1
GAMBLER = {25: (0.16, 9), 50: (0.4, 9), 51: (0.403098, 6), 75: (0.64, 9)}  # capital: value, digits known
BLACKJACK = -0.046556
ARROWS = "↑↓→←"  # of the grids' actions


def _numbers(row: str, found: np.ndarray, known: tuple, digits: int) -> list[Number]:
    return [
        exact(f"{row}[{k}]", value, each, digits) for k, (value, each) in enumerate(zip(found, known, strict=False))
    ]


def _values(values: np.ndarray, digits: int) -> list[list[str]]:
    return [[f"{value:.{digits}f}" for value in row] for row in values]


def _best(solution: finite.Solution, side: int) -> list[list[str]]:
    """All optimal actions of every cell, as arrows."""
    best = solution.advantages > -1e-9
    return np.array(["".join(np.array(list(ARROWS))[row]) for row in best]).reshape(side, side).tolist()


def figure_3_2() -> Figure:
    solution = finite.solve(problems.gridworld_5x5(), "random-policy")
    canvas, (axes,) = sheet(width=4.0, height=3.6)
    values = solution.values.reshape(5, 5)
    image(axes, values, "random policy, γ = 0.9", _values(values, 1))
    text = "The gridworld of example 3.5 under the random policy; the numbers are the first row."
    numbers = _numbers("v", solution.values, RANDOM_5X5, 3)
    return Figure("figure-3-2", "Figure 3.2: a gridworld under the random policy", text, png(canvas), numbers)


def figure_3_5() -> Figure:
    solution = finite.value_iteration(problems.gridworld_5x5())
    canvas, (left, right) = sheet(2, width=7.6, height=3.6)
    values = solution.values.reshape(5, 5)
    image(left, values, "v*", _values(values, 1))
    image(right, values, "π*", _best(solution, 5))
    text = "The same gridworld solved (example 3.8), with all optimal actions; the numbers are the first row."
    numbers = _numbers("v*", solution.values, OPTIMAL_5X5, 3)
    return Figure("figure-3-5", "Figure 3.5: the gridworld's optimal values and actions", text, png(canvas), numbers)


def figure_4_1() -> Figure:
    mdp = problems.gridworld_4x4()
    sweeps = (0, 1, 2, 3, 10)
    canvas, panels = sheet(len(sweeps) + 1, width=14.0, height=2.8)
    values, after = np.zeros(16), {}
    for sweep in range(max(sweeps) + 1):
        after[sweep] = values
        ahead = [[mdp.outcomes(s, a)[0] for a in range(4)] if not mdp.terminal[s] else [] for s in range(16)]
        values = np.array([np.mean([r + values[int(t)] for _, t, r, _ in row]) if row else 0.0 for row in ahead])
    solution = finite.solve(mdp, "random-policy")
    for axes, (name, each) in zip(
        panels, [*((f"k = {k}", after[k]) for k in sweeps), ("k → ∞", solution.values)], strict=True
    ):
        image(axes, each.reshape(4, 4), name, _values(each.reshape(4, 4), 1))
    text = "Iterative evaluation of the random policy; the numbers are the first two rows in the limit."
    numbers = _numbers("v", solution.values, RANDOM_4X4, 9)
    return Figure("figure-4-1", "Figure 4.1: policy evaluation on a small gridworld", text, png(canvas), numbers)


def figure_4_2() -> Figure:
    mdp = problems.car_rental()
    policy, shown = np.full(441, 5), []
    while True:
        shown.append(policy)
        solution = finite.policy_evaluation(mdp, policy)
        better = solution.advantages.max(axis=1) > 1e-9
        if not better.any():
            break
        policy = np.where(better, solution.action_values.argmax(axis=1), policy)
    canvas, panels = sheet(len(shown) + 1, width=15.0, height=2.8)
    for k, (axes, each) in enumerate(zip(panels, shown, strict=False)):
        moves = image(axes, each.reshape(21, 21) - 5, f"π{k}", origin="lower", cmap="RdBu", vmin=-5, vmax=5)
        axes.set(xlabel="cars at second location", ylabel="" if k else "cars at first location")
    canvas.colorbar(moves, ax=panels[:-1], fraction=0.02, label="cars moved")
    values = image(panels[-1], solution.values.reshape(21, 21), f"v of π{len(shown) - 1}", origin="lower")
    canvas.colorbar(values, ax=panels[-1], fraction=0.046)
    numbers = [
        Number("changes of the policy", len(shown) - 1, 4, 0, 0),
        exact("v*(0, 0)", solution.values[0], 421.4141, 4),
        Number("fewest cars moved", policy.min() - 5, -4, 0, 0),
        Number("most cars moved", policy.max() - 5, 5, 0, 0),
    ]
    text = "Jack's car rental (example 4.2) with the full Poisson distributions: the policies of policy iteration."
    return Figure("figure-4-2", "Figure 4.2: Jack's car rental", text, png(canvas), numbers)


def figure_4_3() -> Figure:
    mdp = problems.gambler(0.4)
    solution = finite.value_iteration(mdp)
    canvas, (left, right) = sheet(2, width=10.0)
    for sweep, colour in zip((1, 2, 3, 32), COLOURS, strict=False):
        values = finite.backward_induction(mdp, horizon=sweep).values[0]
        left.plot(range(1, 100), values[1:-1], color=colour, linewidth=1.0, label=f"sweep {sweep}")
    left.plot(range(1, 100), solution.values[1:-1], color="black", linewidth=1.2, label="v*")
    curves(left, "capital", "chance of winning")
    best = solution.advantages > -1e-9
    smallest = best.argmax(axis=1)[1:-1] + 1
    right.step(range(1, 100), smallest, where="mid", color=COLOURS[0], label="smallest optimal stake")
    curves(right, "capital", "stake")
    numbers = [exact(f"v*({capital})", solution.values[capital], *known) for capital, known in GAMBLER.items()]
    text = (
        "The gambler with p = 0.4 (example 4.3): values after sweeps of value iteration, and the smallest best stakes."
    )
    return Figure("figure-4-3", "Figure 4.3: the gambler's problem", text, png(canvas), numbers)


def _hands(values: np.ndarray, usable: bool) -> np.ndarray:
    """What belongs to the sums 12 to 21 (rows) and the dealer's cards 1 to 10 (columns)."""
    cards = range(1, 11)
    return np.array(
        [[values[problems.blackjack_state(total, card, usable)] for card in cards] for total in range(12, 22)]
    )


def _blackjack(rows: dict[str, np.ndarray], **style: float) -> bytes:
    canvas, panels = sheet(2 * len(rows), width=4.2 * 2 * len(rows), height=3.4)
    pairs = [(name, values, usable) for name, values in rows.items() for usable in (True, False)]
    for axes, (name, values, usable) in zip(panels, pairs, strict=True):
        said = f"{name}, {'usable' if usable else 'no usable'} ace"
        drawn = image(axes, _hands(values, usable), said, origin="lower", extent=(0.5, 10.5, 11.5, 21.5), **style)
        axes.set(xlabel="dealer shows", ylabel="player's sum")
        canvas.colorbar(drawn, ax=axes, fraction=0.046)
    return png(canvas)


def figure_5_1() -> Figure:
    mdp = problems.blackjack()
    policy = np.ones(mdp.num_states, int)
    for usable in (True, False):
        for card in range(1, 11):
            policy[[problems.blackjack_state(total, card, usable) for total in (20, 21)]] = 0
    solution = finite.policy_evaluation(mdp, policy)
    picture = _blackjack({"v": solution.values}, vmin=-1, vmax=1)
    text = (
        "Blackjack (example 5.1) with an infinite deck: the exact values of the policy that sticks on 20 and 21 alone, "
        f"which is worth {solution.start_value:.6f} a game."
    )
    return Figure("figure-5-1", "Figure 5.1: a policy for blackjack, valued", text, picture)


def figure_5_2() -> Figure:
    solution = finite.value_iteration(problems.blackjack())
    picture = _blackjack({"hits": solution.policy, "v*": solution.values})
    text = "Blackjack solved exactly: where to hit (1) and where to stick (0), and the value of each hand."
    numbers = [exact("value of a game", solution.start_value, BLACKJACK, 6)]
    return Figure("figure-5-2", "Figure 5.2: the optimal policy for blackjack", text, picture, numbers)
