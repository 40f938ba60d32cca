"""`operant resume DIR`."""

from operant.commands.common import DEVICE, DIRECTORY, ENVIRONMENT, EPISODES, JSON, NO_GIF, PROGRESS, STEPS, SWITCHES
from operant.kinds import Kind
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    steps = Kind("INT", STEPS.read, lambda value: "the run's own" if value is None else str(value))
    flags = (Flag("steps", steps, None, "the new total"), ENVIRONMENT, DEVICE, PROGRESS, EPISODES, NO_GIF, JSON)
    values = parse(Command("resume", "Continue a run.", DIRECTORY, flags), cut(argv, SWITCHES))
    from operant import api
    from operant.commands.results import finish

    names = ("steps", "environment", "device", "progress")
    agents = api.resume(values["directory"], **{name: values[name] for name in names})
    return finish(agents, values["environment"], values)
