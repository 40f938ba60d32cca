"""`operant export-dataset DIR`."""

from operant.commands.common import DIRECTORY, ENVIRONMENT, JSON, SEED, STEPS, SWITCHES, WHICH
from operant.errors import OperantError
from operant.kinds import NUMBER, Kind
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    explore = Flag("explore", None, False, "act as at the end of training, not greedily")
    flags = (
        Flag("steps", STEPS, 100_000, "transitions to play"),
        Flag("out", Kind("DIR", str, lambda value: value or "needed"), None, "the dataset's new folder"),
        Flag("epsilon", NUMBER, 0.0, "probability of a uniformly random action"),
        explore,
        WHICH,
        Flag("seed", SEED, 0, "seed of the episodes"),
        ENVIRONMENT,
        JSON,
    )
    about = "Play transitions with a trained agent and keep them, for train --dataset."
    values = parse(Command("export-dataset", about, DIRECTORY, flags), cut(argv, (*SWITCHES, "explore")))
    if values["out"] is None:
        raise OperantError("--out is missing: the new folder of the dataset")
    from operant import api
    from operant.commands.output import console, print_json
    from operant.commands.results import members_of
    from operant.core.runs import RunFolder
    from operant.recording import export_dataset

    agents = api.load(values["directory"], environment=values["environment"], which=values["which"])
    names = ("steps", "epsilon", "explore", "seed")
    path = RunFolder(export_dataset(agents, values["out"], **{name: values[name] for name in names}))
    console().print(f"{values['steps']:,} transitions in {path.path}", markup=False)
    name = members_of(agents)[0].description["environment"]
    console().print(f"  operant train cql {name} --dataset {path.quoted}", markup=False)
    if values["json"]:
        print_json({"out": str(path.path), "steps": values["steps"]})
    return 0
