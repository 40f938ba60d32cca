"""`operant doctor`: what is here, what could be, and what stands in the way, each with its remedy."""

from typing import Any

from operant.commands.common import JSON, SWITCHES
from operant.parsing import Command, cut, parse


def main(argv: list[str]) -> int:
    command = Command("doctor", "Say what is installed, what could be, and what stands in the way.", (), (JSON,))
    values = parse(command, cut(argv, SWITCHES))
    from operant.commands.examination import examine
    from operant.commands.output import print_json

    told = examine()
    _show(told)
    if values["json"]:
        print_json(told)
    return 0


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table

    from operant.commands.examination import EXTRAS, size
    from operant.commands.output import console

    table = Table(show_header=False, box=None, pad_edge=False)
    where, runs, cache, terminal = told["platform"], told["runs"], told["cache"], told["terminal"]
    table.add_row("operant", f"{told['operant']}, Python {told['python']['version']} ({told['python']['executable']})")
    table.add_row("platform", f"{where['system']}, {where['cores']} cores")
    table.add_row("devices", ", ".join(told["devices"]) or "none")
    table.add_row("packages", ", ".join(f"{name} {version or 'missing'}" for name, version in told["packages"].items()))
    for name, (_, adds) in EXTRAS.items():
        state = "installed" if told["extras"][name] else f"pip install -e '.[{name}]'"
        table.add_row(f"extra {name}", f"{adds}: {state}")
    table.add_row("settings", ", ".join(f"{name}={value}" for name, value in told["settings"].items()) or "none")
    table.add_row("programs", f"{cache['folder']}, {size(cache['bytes'])}" if cache["folder"] else "not kept")
    table.add_row("runs", f"{runs['folder']}, {size(runs['free_bytes'])} free")
    table.add_row("terminal", f"{terminal['encoding']}{'' if terminal['interactive'] else ', plain lines'}")
    console().print(table, markup=False)
    for problem in told["problems"]:
        console().print(f"problem: {problem['what']}\n    fix: {problem['fix']}", markup=False)
    console().print("no problems" if not told["problems"] else f"problems: {len(told['problems'])}")
