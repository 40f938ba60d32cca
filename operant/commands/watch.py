"""`operant watch DIR`."""

from pathlib import Path

from operant.commands.common import DIRECTORY, ENVIRONMENT, SWITCHES, WHICH
from operant.errors import OperantError
from operant.parsing import Command, cut, parse


def main(argv: list[str]) -> int:
    values = parse(Command("watch", "Draw an episode anew.", DIRECTORY, (WHICH, ENVIRONMENT)), cut(argv, SWITCHES))
    from operant import api
    from operant.commands.results import members_of
    from operant.core.runs.folder import RunFolder
    from operant.core.showing.episodes import record

    agent = members_of(api.load(values["directory"], environment=values["environment"], which=values["which"]))[0]
    path = RunFolder(Path(values["directory"])).episode
    if note := record(agent, path, values["environment"]):
        raise OperantError(note)
    print(path)
    return 0
