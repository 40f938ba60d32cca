"""Speed against other libraries, measured in turns.

    python benchmarks/speed.py [--cases ppo-8 dqn-4 …] [--repeats 5] [--json FILE] [--markdown FILE]

All sides of a case are prepared first: imported, compiled (that time is reported apart) and run once. Then they take
turns, A-B-A-B, one repetition at a time, so that whatever else the machine is doing falls on everyone. A repetition
trains from scratch with a new seed. The table gives medians, and the ratio of medians with the least and greatest
ratio of a turn. Everything printed for people goes to standard error; the exit status is 1 where a side failed.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from cases import CASES, Case
from peers import Peer, PeerError
from rich.console import Console
from rich.table import Table

COLUMNS = ("side", "steps/s", "min … max", "ratio", "min … max", "hoped for", "compile, s")


def measure(case: Case, repeats: int) -> list[dict[str, Any]]:
    """One row for each entry: `label`, and either `error` or `speeds`, `compile_seconds`, `versions`."""
    rows: list[dict[str, Any]] = []
    peers: dict[int, Peer] = {}
    try:
        for index, entry in enumerate(case.entries):
            rows.append({"label": entry.label, "worker": entry.worker, "target": entry.target, "speeds": []})
            try:
                peer = Peer(entry.worker, {**case.settings, **entry.settings, "steps": entry.steps})
            except PeerError as error:
                rows[index]["error"] = str(error)
                continue
            peers[index] = peer
            rows[index] |= {"compile_seconds": peer.compile_seconds, "versions": peer.versions}
        for turn in range(repeats):
            for index, peer in peers.items():
                if "error" in rows[index]:
                    continue
                try:
                    rows[index]["speeds"].append(peer.run(turn + 1))
                except PeerError as error:
                    rows[index]["error"] = str(error)
    finally:
        for peer in peers.values():
            peer.close()
    return rows


def cells(row: dict[str, Any], first: dict[str, Any]) -> tuple[str, ...]:
    """The row as text, in the order of `COLUMNS`."""
    if "error" in row:
        return (row["label"], f"failed: {row['error']}", "", "", "", "", "")
    speeds = row["speeds"]
    ratio = spread = ""
    if row is not first and "error" not in first:
        turns = [a / b for a, b in zip(first["speeds"], speeds, strict=True)]
        ratio = f"{statistics.median(first['speeds']) / statistics.median(speeds):.2f}×"
        spread = f"{min(turns):.2f} … {max(turns):.2f}"
    return (
        row["label"],
        f"{statistics.median(speeds):,.0f}",
        f"{min(speeds):,.0f} … {max(speeds):,.0f}",
        ratio,
        spread,
        f"≥ {row['target']:g}×" if row["target"] else "",
        f"{row['compile_seconds']:.1f}" if row["compile_seconds"] else "",
    )


def machine(rows: list[dict[str, Any]]) -> str:
    """The facts a number depends on: cores, GPU, Python, and every version that a worker reported."""
    workers = {row["worker"]: row["versions"] for row in rows if "versions" in row}
    versions = [
        f"{worker} with " + ", ".join(f"{name} {version}" for name, version in found.items())
        for worker, found in workers.items()
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = "no GPU"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, encoding="utf-8").stdout.split("\n")[0].strip()
        gpu = names or gpu
    python = f"Python {platform.python_version()}"
    return "; ".join([f"{cores} {platform.machine()} cores", gpu, python, *versions])


def markdown(results: dict[str, list[dict[str, Any]]], command: str, repeats: int) -> str:
    rows = [row for case in results.values() for row in case]
    lines = [
        "# Speed",
        "",
        f"Measured by `{command}`, {repeats} turns for each side, on {machine(rows)}.",
        "",
        "Environment steps per second of training, evaluation off: medians, then the range. The ratio is the first",
        "side's speed over this side's, with the least and greatest of the turns. Compilation is cold and not part of",
        "the speed.",
    ]
    for name, case in results.items():
        lines += ["", f"## {name}: {CASES[name].title}", "", "| " + " | ".join(COLUMNS) + " |"]
        lines += ["| --- |" + " ---: |" * (len(COLUMNS) - 1)]
        lines += ["| " + " | ".join(cells(row, case[0])) + " |" for row in case]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every measurement")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, with the machine's facts")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")

    console = Console(stderr=True)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.cases:
        rows = results[name] = measure(CASES[name], arguments.repeats)
        table = Table(title=f"{name}: {CASES[name].title}", title_justify="left")
        for index, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in rows:
            table.add_row(*cells(row, rows[0]))
        console.print(table)
    every = [row for rows in results.values() for row in rows]
    console.print(f"Measured on {machine(every)}.", highlight=False)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(every), "cases": results}, indent=2) + "\n", encoding="utf-8"
        )
    if arguments.markdown:
        command = " ".join(["python", "benchmarks/speed.py", *sys.argv[1:]])
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(markdown(results, command, arguments.repeats), encoding="utf-8")
    return int(any("error" in row for row in every))


if __name__ == "__main__":
    sys.exit(main())
