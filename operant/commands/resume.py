"""`operant resume DIR`."""

from operant.commands.common import (
    DATASET,
    DEVICE,
    DIRECTORY,
    ENVIRONMENT,
    EPISODES,
    JSON,
    NO_GIF,
    PROGRESS,
    STEPS,
    SWITCHES,
)
from operant.kinds import Kind
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    steps = Kind("INT", STEPS.read, lambda value: "the run's own" if value is None else str(value))
    moved = Flag("dataset", DATASET, None, "where the dataset of the run lies now")
    flags = (Flag("steps", steps, None, "the new total"), ENVIRONMENT, moved, DEVICE, PROGRESS, EPISODES, NO_GIF, JSON)
    values = parse(Command("resume", "Continue a run.", DIRECTORY, flags), cut(argv, SWITCHES))
    from operant import api
    from operant.commands.results import finish

    names = ("steps", "environment", "dataset", "device", "progress")
    agents = api.resume(values["directory"], **{name: values[name] for name in names})
    return finish(agents, values["environment"], values)
