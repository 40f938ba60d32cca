"""Exact solvers at scale: mazes up to ten million states, against QuantEcon and pymdptoolbox on the same arrays.

    python benchmarks/finite.py [--states 1000000] [--large 10000000] [--repeats 3] [--peer-python PYTHON]

Peers live in their own environment, by default benchmarks/.peers/finite (`python -m venv`, then `pip install -r
benchmarks/requirements-finite.txt`). Every side is warmed up on a small maze, gets a problem already in its own form,
and is asked for γ = .99 and values within 1e-6. Sides take turns. Prints one JSON line for each measurement: the
solver's seconds by the clock and of processor time, the certified gap (ours) or the residual of the Bellman
equation times γ/(1-γ) (all), peak memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000, help="0 leaves the large mazes out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds allowed to one measurement")
    parser.add_argument("--peer-python", default=str(Path(__file__).parent / ".peers" / "finite" / "bin" / "python"))
    parser.add_argument("--only", nargs="*", default=[""], help="measure sides that contain one of these words")
    parser.add_argument("--side", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        kind, first, second, last = options.side
        result = peer(first, second, last) if kind == "peer" else ours(first, second, int(last))
        result["peak_gib"] = peak_memory()
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.states)
        sides = [
            (sys.executable, ["--side", "ours", "gauss_seidel", form, str(options.states)])
            for form in ("moves", "stored")
        ]
        if Path(options.peer_python).exists():
            sides += [
                (options.peer_python, ["--side", "peer", name, m, folder]) for name, ms in PEERS.items() for m in ms
            ]
        sides = [side for side in sides if any(word in " ".join(side[1][1:4]) for word in options.only)]
        rows: dict[str, list[dict]] = {}
        for _ in range(options.repeats):
            for python, arguments in sides:
                label = " ".join(arguments[2:4])
                past = rows.setdefault(label, [])
                if past and "failed" in past[-1]:
                    continue  # it will not get better
                past.append(measure(python, arguments, options.limit) | {"side": label})
                print(json.dumps(past[-1]), flush=True)
        medians = {k: statistics.median(r["seconds"] for r in v) for k, v in rows.items() if "failed" not in v[-1]}
        print(json.dumps({"median seconds": medians}), flush=True)
    if options.large:
        for form in ("moves", "stored"):
            result = measure(
                sys.executable, ["--side", "ours", "gauss_seidel", form, str(options.large)], options.limit
            )
            print(json.dumps(result | {"side": f"gauss_seidel {form}"}), flush=True)


if __name__ == "__main__":
    main()
