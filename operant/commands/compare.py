"""`operant compare ENVIRONMENT`: planning with the model against learning without it, on one finite problem."""

import dataclasses
import time
from typing import Any

from operant.commands.common import JSON, SEED, STEPS, SWITCHES
from operant.commands.solve import OWN, PROBLEM
from operant.errors import OperantError
from operant.kinds import PAIRS, TEXT, Kind, several, whole
from operant.parsing import Command, Flag, cut, parse

NAMES = several(TEXT, "names with commas")
FLAGS = (
    Flag("methods", NAMES, ("value-iteration", "policy-iteration"), "solvers, which are told everything"),
    Flag("algorithms", NAMES, ("q-learning", "sarsa"), "learners, which are told states, actions and discount alone"),
    Flag("discount", OWN, None, "the discount, from 0 to 1"),
    Flag("steps", Kind("INT", STEPS.read, lambda value: str(value or "each learner's own")), None,
         "environment steps of a learner, for each seed"),
    Flag("seed", SEED, 0, "the first seed of the learners"),
    Flag("num_seeds", whole(1, 1000), 5, "seeds of each learner"),
    Flag("env_kwargs", PAIRS, (), "arguments of the problem, such as is_slippery=False"),
    JSON,
)  # fmt: skip
ABOUT = "Solve a finite problem by planning, and learn it without its dynamics; every policy is valued exactly."


def main(argv: list[str]) -> int:
    values = parse(Command("compare", ABOUT, PROBLEM, FLAGS), cut(argv, SWITCHES))
    from operant import catalogue, finite
    from operant.commands.output import console, print_json

    for name in values["algorithms"]:
        catalogue.find(name)  # a mistake costs nothing yet
    problem = finite.problem(values["environment"], **dict(values["env_kwargs"]))
    problem = problem if isinstance(problem, finite.MDP) else problem.stored()
    completed = not problem.legal[~problem.terminal].all()
    problem = problem.complete() if completed else problem
    rows = [_planned(problem, method, values["discount"]) for method in values["methods"]]
    exact = finite.solve(problem, "policy-iteration", discount=values["discount"])
    rows += [_learned(name, exact, values) for name in values["algorithms"]]
    size = f"{problem.num_states} states, {problem.num_actions} actions, discount {exact.discount:g}"
    console().print(f"{values['environment']}: {size}, exact value at the start {exact.start_value:.6g}")
    console().print("All are told states, actions and discount; planners also p(s', r | s, a), hidden from learners.")
    if completed:
        console().print("An action that is not legal does what its state's first legal action does.")
    console().print(_table([row for row in rows if not row["note"]]))
    for row in rows:
        if row["note"]:
            console().print(f"{row['name']}: {row['note']}", markup=False)
    if values["json"]:
        plain = [{key: None if value == float("inf") else value for key, value in row.items()} for row in rows]
        told = {"environment": values["environment"], "discount": exact.discount, "start_value": exact.start_value}
        print_json(told | {"completed": completed, "rows": plain})
    return 0


def _planned(problem: Any, method: str, discount: float | None) -> dict[str, Any]:
    from operant import finite

    solution = finite.solve(problem, method, discount=discount)
    if solution.gain is not None or solution.values.ndim > 1:
        raise OperantError(f"{method} answers another question: compare methods for discounted or total reward")
    return {
        "name": method,
        "kind": "planned",
        "work": solution.iterations,
        "seconds": solution.seconds,
        "regret": solution.regret(solution.policy),
        "worst_regret": None,
        "optimal_seeds": None,
        "note": None,
    }


def _learned(name: str, exact: Any, values: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from operant import api, catalogue
    from operant.agent import Agents

    entry = catalogue.find(name)
    known = [field.name for field in dataclasses.fields(entry.make)]
    fields = {"discount": exact.discount} if "discount" in known else {}
    row = dict.fromkeys(("regret", "worst_regret", "optimal_seeds", "seconds", "note"), None)
    row |= {"name": entry.name, "kind": "learned", "work": values["steps"] or entry.steps}
    began = time.perf_counter()
    try:
        agents = api.train(
            name, exact.problem, steps=values["steps"], seed=values["seed"], num_seeds=values["num_seeds"],
            progress="none", **fields,
        )  # fmt: skip
    except OperantError as error:
        return row | {"note": str(error)}
    seconds = time.perf_counter() - began
    regrets = [exact.regret(agent) for agent in (agents if isinstance(agents, Agents) else [agents])]
    # A policy as good as the best one is worth the same but for rounding.
    best = sum(regret <= 1e-6 * max(1.0, abs(exact.start_value)) for regret in regrets)
    summary = {"regret": float(np.mean(regrets)), "worst_regret": float(max(regrets)), "optimal_seeds": best}
    return row | summary | {"seconds": seconds}


def _table(rows: list[dict[str, Any]]) -> Any:
    """Work is iterations of planners, steps of learners; regret is the mean over seeds, then the worst seed's."""
    from rich.table import Table

    table = Table("", "", "work", "seconds", "regret", "worst", "optimal", box=None, pad_edge=False)
    for row in rows:
        regrets = ["" if row[key] is None else f"{row[key]:.4g}" for key in ("regret", "worst_regret")]
        seeds = "" if row["optimal_seeds"] is None else str(row["optimal_seeds"])
        table.add_row(row["name"], row["kind"], f"{row['work']:,}", f"{row['seconds']:.3g}", *regrets, seeds)
    return table
