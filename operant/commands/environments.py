"""`operant environments`."""

from operant.commands.common import BACKENDS, JSON, SWITCHES
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    flags = (Flag("backend", BACKENDS, "auto", "only those that run there"), JSON)
    values = parse(Command("environments", "List the environments known by name.", (), flags), cut(argv, SWITCHES))
    from rich.table import Table

    from operant.commands.output import console, print_json
    from operant.environments.make import compiled_names, gymnasium_names

    sides = {"compiled": compiled_names, "gymnasium": gymnasium_names}
    known = {side: names() for side, names in sides.items() if values["backend"] in ("auto", side)}
    every = sorted({name for names in known.values() for name in names}, key=str.lower)
    rows = {name: [side for side, names in known.items() if name in names] for name in every}
    if values["json"]:
        print_json({"environments": rows})
        return 0
    table = Table("environment", "backends (the first is taken)", box=None, pad_edge=False)
    for name, backends in rows.items():
        table.add_row(name, ", ".join(backends))
    console().print(table)
    return 0
