"""Exact solvers at scale: mazes up to ten million states, against QuantEcon and pymdptoolbox on the same arrays.

    python benchmarks/finite.py [--states 1000000] [--large 10000000] [--repeats 3] [--markdown FILE]

Peers live in an environment of their own (benchmarks/.peers/finite), made from requirements-finite.txt the first time.
Every side is warmed up on a small maze, gets a problem already in its own form, and is asked for γ = .99 and values
within 1e-6. Sides take turns. Prints one JSON line for each measurement: the solver's seconds by the clock and of
processor time, the certified gap (ours) or the residual of the Bellman equation times γ/(1-γ) (peers), peak memory.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

DISCOUNT, TOLERANCE = 0.99, 1e-6
PEERS = {
    "quantecon": ("value_iteration", "policy_iteration", "modified_policy_iteration"),
    "pymdptoolbox": ("VI", "MPI"),
}


def problem(states: int):
    from operant.finite import problems

    side = round((states / 0.8) ** 0.5)
    return problems.maze(side, side)


def error_bound(transitions: sparse.csr_array, rewards: np.ndarray, values: np.ndarray) -> float:
    """γ/(1-γ) ‖Tv - v‖: how far v can be from the optimum, for anyone's v."""
    backed_up = (rewards + DISCOUNT * (transitions @ values)).reshape(len(values), -1).max(axis=1)
    return float(np.abs(backed_up - values).max()) * DISCOUNT / (1 - DISCOUNT)


def ours(solver: str, form: str, states: int) -> dict:
    from operant import finite

    def solve(size: int):
        maze = problem(size)
        model = maze if form == "moves" else maze.stored()
        del maze
        if form == "stored":
            _ = model.collapsed
        busy = time.process_time()
        solution = getattr(finite, solver)(model, DISCOUNT, TOLERANCE)
        return solution, time.process_time() - busy

    solve(400)
    solution, busy = solve(states)
    return {
        "states": len(solution.values),
        "seconds": solution.seconds,
        "cpu": busy,
        "certified": solution.gap,
        "iterations": solution.iterations,
    }


def peer(library: str, method: str, path: str) -> dict:
    """In the peers' environment: `path` holds the collapsed arrays, terminal states turned into free loops."""
    states, seconds, busy = 0, 0.0, 0.0
    for name in ("small", "problem"):
        transitions = sparse.csr_matrix(sparse.load_npz(f"{path}/{name}.npz"))
        rewards = np.load(f"{path}/{name}.npy")
        states, actions = transitions.shape[1], transitions.shape[0] // transitions.shape[1]
        if library == "quantecon":
            from quantecon.markov import DiscreteDP

            pairs = np.divmod(np.arange(states * actions), actions)
            model = DiscreteDP(rewards, transitions, DISCOUNT, *pairs)
            began, busy = time.perf_counter(), time.process_time()
            values = model.solve(method=method, epsilon=TOLERANCE, max_iter=10**6, k=20).v
        else:
            from mdptoolbox import mdp

            matrices = [transitions[action::actions] for action in range(actions)]
            table = rewards.reshape(states, actions)
            began, busy = time.perf_counter(), time.process_time()
            if method == "VI":
                model = mdp.ValueIteration(matrices, table, DISCOUNT, TOLERANCE, 10**6)
            else:
                model = mdp.PolicyIterationModified(matrices, table, DISCOUNT, TOLERANCE, 10**6)
            model.run()
            values = np.asarray(model.V)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return {"states": states, "seconds": seconds, "cpu": busy, "error": error_bound(transitions, rewards, values)}


def write(path: Path, states: int) -> None:
    for name, size in (("small", 400), ("problem", states)):
        model = problem(size).collapsed
        ends = np.flatnonzero(model.terminal)
        rows = (ends[:, None] * model.num_actions + np.arange(model.num_actions)).ravel()
        # Peers know no ends: entering one leads to it, and it leads to itself at no reward.
        missing = 1.0 - np.asarray(model.transitions.sum(axis=1)).ravel()
        missing[rows] = 1.0
        where = np.flatnonzero(missing > 1e-12)
        into = sparse.csr_array((missing[where], (where, np.full(len(where), ends[0]))), shape=model.transitions.shape)
        sparse.save_npz(path / f"{name}.npz", sparse.csr_matrix(model.transitions + into), compressed=False)
        np.save(path / f"{name}.npy", model.rewards)


def peak_memory() -> float:
    """GiB of this process alone; rusage would count what the parent held when it forked. Linux only."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def measure(python: str, arguments: list[str], limit: float) -> dict:
    """One measurement in a process of its own, so that memory is its own and nothing is warm but what it warmed."""
    label = " ".join(arguments[1:3])
    try:
        command = [python, __file__, *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"side": label, "failed": f"more than {limit:.0f} s"}
    if done.returncode:
        return {"side": label, "failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    return {"side": label, **json.loads(done.stdout.splitlines()[-1])}


def summary(rows: list[dict]) -> dict:
    """One side's measurements as one: medians and the range of its seconds, the worst of the rest; or how it failed."""
    failed = [row for row in rows if "failed" in row]
    if failed:
        return failed[-1]
    seconds = [row["seconds"] for row in rows]
    within = max(row.get("certified", row.get("error", 0.0)) for row in rows)
    return {
        "side": rows[0]["side"],
        "states": rows[0]["states"],
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "cpu": statistics.median(row["cpu"] for row in rows),
        "within": within,
        "peak_gib": max(row["peak_gib"] for row in rows),
    }


HEAD = """\
| side | states | seconds | min … max | processor time | within | peak GiB | ours is faster by |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def markdown(rounds: list[list[dict]], command: str) -> str:
    """The page of results: one table for each problem, the first side's speed beside that of the others."""
    lines = [
        "# Finite MDPs at scale", "",
        f"`{command}`, on {os.cpu_count()} {platform.machine()} cores; Python {platform.python_version()}.",
        "Seconds of the solver alone, γ = .99, values within 1e-6: certified for ours, the Bellman residual for peers.",
    ]  # fmt: skip
    for rows in rounds:
        lines += ["", HEAD]
        for row in rows:
            if "failed" in row:
                lines.append(f"| {row['side']} | | failed: {row['failed']} | | | | | |")
                continue
            ratio = f"{row['median'] / rows[0]['median']:.1f}×" if row is not rows[0] and "median" in rows[0] else ""
            lines.append(
                f"| {row['side']} | {row['states']:,} | {row['median']:.2f} | {row['least']:.2f} … {row['most']:.2f} | "
                f"{row['cpu']:.2f} | {row['within']:.1e} | {row['peak_gib']:.2f} | {ratio} |"
            )
    return "\n".join(lines) + "\n"


def turns(sides: list[tuple[Any, list[str]]], repeats: int, limit: float) -> list[dict]:
    """Every side measured in turns; each measurement is printed, what failed once is left out from then on."""
    rows: dict[str, list[dict]] = {}
    for _ in range(repeats):
        for python, arguments in sides:
            past = rows.setdefault(" ".join(arguments[2:4]), [])
            if not past or "failed" not in past[-1]:
                past.append(measure(python, arguments, limit) | {"side": " ".join(arguments[2:4])})
                print(json.dumps(past[-1]), flush=True)
    return [summary(past) for past in rows.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000, help="0 leaves the large mazes out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds allowed to one measurement")
    parser.add_argument("--only", nargs="*", default=[""], help="measure sides that contain one of these words")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--side", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        kind, first, second, last = options.side
        result = peer(first, second, last) if kind == "peer" else ours(first, second, int(last))
        result["peak_gib"] = peak_memory()
        print(json.dumps(result))
        return

    def own(states: int) -> list[tuple[Any, list[str]]]:
        return [(sys.executable, ["--side", "ours", "gauss_seidel", form, str(states)]) for form in ("moves", "stored")]

    def wanted(sides: list[tuple[Any, list[str]]]) -> list[tuple[Any, list[str]]]:
        return [side for side in sides if any(word in " ".join(side[1][1:4]) for word in options.only)]

    with tempfile.TemporaryDirectory() as folder:
        sides = [
            *own(options.states),
            *((None, ["--side", "peer", n, m, folder]) for n, ms in PEERS.items() for m in ms),
        ]
        sides = wanted(sides)
        if any(python is None for python, _ in sides):
            from peers import interpreter  # beside this file; the peers' own interpreter does not import it

            sides = [(python or str(interpreter("finite")), arguments) for python, arguments in sides]
            write(Path(folder), options.states)
        rounds = [turns(sides, options.repeats, options.limit)]
    if options.large:
        rounds.append(turns(wanted(own(options.large)), 1, options.limit))
    if options.markdown:
        command = " ".join(["python", "benchmarks/finite.py", *sys.argv[1:]])
        options.markdown.write_text(markdown(rounds, command), encoding="utf-8")


if __name__ == "__main__":
    main()
