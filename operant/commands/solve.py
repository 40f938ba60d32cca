"""`operant solve ENVIRONMENT`."""

from pathlib import Path
from typing import Any

from operant.commands.common import JSON, SWITCHES
from operant.kinds import NUMBER, PAIRS, TEXT, Kind, optional, whole
from operant.parsing import Command, Flag, cut, parse

OWN = Kind("FLOAT", NUMBER.read, lambda value: "the problem's own" if value is None else repr(value))
FLAGS = (
    Flag("method", TEXT, "value-iteration", "the solver; an unknown one is answered with the nearest"),
    Flag("discount", OWN, None, "the discount, from 0 to 1"),
    Flag("tolerance", NUMBER, 1e-9, "how near the certified bounds must be"),
    Flag("horizon", optional(whole(1)), None, "steps of an episode, for backward-induction"),
    Flag("env_kwargs", PAIRS, (), "arguments of the problem, such as is_slippery=False"),
    Flag("out", Kind("DIR", str, lambda value: value or "nothing"), None,
         "a folder for solution.json, solution.safetensors and, of grids, values.png"),
    JSON,
)  # fmt: skip
ABOUT = "Solve a finite problem exactly: a Gymnasium id with a table, a problem of operant.finite, or a saved MDP."
PROBLEM = (("environment", "such as FrozenLake-v1, windy-grid or a file of MDP.save"),)


def main(argv: list[str]) -> int:
    values = parse(Command("solve", ABOUT, PROBLEM, FLAGS), cut(argv, SWITCHES))
    from operant import finite
    from operant.commands.output import console, print_json

    problem = finite.problem(values["environment"], **dict(values["env_kwargs"]))
    asked = {name: values[name] for name in ("discount", "tolerance", "horizon")}
    solution = finite.solve(problem, values["method"], **asked)
    console().print(f"{values['environment']}, {solution}", markup=False)
    told = {"environment": values["environment"], "env_kwargs": dict(values["env_kwargs"])} | facts(solution)
    if values["out"]:
        for path in write(Path(values["out"]), told, solution):
            console().print(f"written: {path}", markup=False)
    if values["json"]:
        print_json(told | arrays(solution))
    return 0


def facts(solution: Any) -> dict[str, Any]:
    """What is said of a solution in JSON, without its arrays."""
    states, actions = solution.action_values.shape[-2:]
    return {
        "method": solution.method,
        "discount": solution.discount,
        "states": states,
        "actions": actions,
        "horizon": len(solution.policy) if solution.values.ndim == 2 else None,
        "start_value": None if solution.gain is not None else solution.start_value,
        "gain": solution.gain,
        "gap": solution.gap,
        "iterations": solution.iterations,
        "seconds": solution.seconds,
    }


def arrays(solution: Any) -> dict[str, Any]:
    """Every array of a solution in JSON; the value of an action that is not legal is null."""
    import numpy as np

    told = {name: getattr(solution, name).tolist() for name in ("values", "lower", "upper", "policy")}
    legal = np.asarray(solution.action_values, dtype=object)
    legal[~np.isfinite(solution.action_values)] = None
    return told | {"action_values": legal.tolist()}


def write(folder: Path, told: dict[str, Any], solution: Any) -> list[Path]:
    """The files of `--out`. Raises `OperantError` where they cannot be written."""
    import json

    import numpy as np
    from safetensors.numpy import save_file

    from operant.errors import OperantError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "solution.json", folder / "solution.safetensors"]
        paths[0].write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        names = ("values", "action_values", "policy", "lower", "upper")
        save_file({name: np.ascontiguousarray(getattr(solution, name)) for name in names}, str(paths[1]))
        if getattr(solution.problem, "cells", None) is not None:
            paths.append(folder / "values.png")
            solution.picture(paths[-1])
    except OSError as error:
        raise OperantError(f"{folder} cannot be written: {error.strerror or error}") from error
    return paths
