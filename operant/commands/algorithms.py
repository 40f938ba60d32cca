"""`operant algorithms`."""

from typing import Any

from operant.commands.common import JSON, SWITCHES
from operant.errors import OperantError
from operant.parsing import Command, Flag, cut, parse

# Characters that a terminal needs for the columns of the map.
WIDE = 150

# The filters of `operant algorithms`: those that ..., and the test.
FILTERS: dict[str, tuple[str, Any]] = {
    "model_free": ("need no model of the world", lambda entry: not entry.model),
    "model_based": ("have a model of the world", lambda entry: entry.model),
    "value": ("learn values", lambda entry: "value" in entry.learns),
    "policy": ("learn a policy", lambda entry: "policy" in entry.learns),
    "on_policy": ("learn from their own latest data", lambda entry: entry.data == "on-policy"),
    "off_policy": ("learn from older data too", lambda entry: entry.data == "off-policy"),
    "mc": ("update from whole returns", lambda entry: "MC" in entry.update),
    "td": ("update by bootstrapping", lambda entry: "TD" in entry.update),
    "discrete": ("choose among finitely many actions", lambda entry: "discrete" in entry.actions),
    "continuous": ("choose real numbers", lambda entry: "continuous" in entry.actions),
}


def main(argv: list[str]) -> int:
    flags = tuple(Flag(name, None, False, f"those that {about}") for name, (about, _) in FILTERS.items())
    command = Command("algorithms", "List the algorithms, with their place on the map.", (), (*flags, JSON))
    values = parse(command, cut(argv, (*FILTERS, *SWITCHES)))
    from rich.table import Column, Table

    from operant import catalogue, presets
    from operant.commands.output import console, print_json
    from operant.running import say

    known = []
    for name in catalogue.names():
        try:
            known.append(catalogue.find(name))
        except OperantError as error:  # somebody's installed package is broken: the others are still there
            say(str(error))
    tests = [test for name, (_, test) in FILTERS.items() if values[name]]
    entries = [entry for entry in known if all(test(entry) for test in tests)]
    if values["json"]:
        columns: tuple[str, ...] = (
            "name",
            "learns",
            "data",
            "update",
            "actions",
            "model",
            "summary",
            "steps",
            "num_envs",
        )
        rows = [{column: getattr(entry, column) for column in columns} for entry in entries]
        print_json({"algorithms": [row | {"presets": list(presets.of(row["name"]))} for row in rows]})
        return 0
    out = console()
    name = Column("algorithm", no_wrap=True)
    if out.width < WIDE:  # so many columns would be slivers
        table = Table(name, "", box=None, pad_edge=False)
        for entry in entries:
            table.add_row(entry.name, entry.summary)
        hint = "; --json, or a wider terminal, has their presets and where they stand on the map"
    else:
        table, hint = Table(name, "learns", "data", "update", "actions", "presets", "", box=None, pad_edge=False), ""
        for entry in entries:
            tuned = ", ".join(presets.of(entry.name))
            table.add_row(entry.name, entry.learns, entry.data, entry.update, entry.actions, tuned, entry.summary)
    out.print(table)
    out.print(f"operant train NAME --help shows an algorithm's fields{hint}", style="dim")
    return 0
