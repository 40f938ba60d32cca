"""`operant export-dataset DIR`."""

from typing import Any

from operant.commands.common import DIRECTORY, ENVIRONMENT, JSON, SEED, STEPS, SWITCHES, WHICH
from operant.errors import OperantError
from operant.kinds import NUMBER, Kind
from operant.parsing import Command, Flag, cut, parse

PLAYED = 100_000  # transitions, where none are asked for


def main(argv: list[str]) -> int:
    steps = Kind("INT", STEPS.read, lambda value: f"{PLAYED}, or all of the replay" if value is None else str(value))
    flags = (
        Flag("steps", steps, None, "transitions, over all seeds (of a replay the newest, of each seed)"),
        Flag("out", Kind("DIR", str, lambda value: value or "needed"), None, "the dataset's new folder"),
        Flag("epsilon", NUMBER, 0.0, "probability of a uniformly random action"),
        Flag("explore", None, False, "act as at the end of training, not greedily"),
        Flag("replay", None, False, "nothing is played: what the run's replay holds"),
        WHICH,
        Flag("seed", SEED, 0, "seed of the episodes"),
        ENVIRONMENT,
        JSON,
    )
    about = "Play transitions with a trained agent and keep them, for train --dataset."
    values = parse(Command("export-dataset", about, DIRECTORY, flags), cut(argv, (*SWITCHES, "explore", "replay")))
    if values["out"] is None:
        raise OperantError("--out is missing: the new folder of the dataset")
    if values["replay"] and (values["epsilon"] or values["explore"] or values["which"] != "last" or values["seed"]):
        raise OperantError("--replay plays nothing: --epsilon, --explore, --which and --seed mean nothing with it")
    from gymnasium.spaces import Discrete

    from operant.commands.output import console, print_json
    from operant.core.data.datasets import Dataset
    from operant.core.runs.folder import RunFolder
    from operant.workers.masking import has_mask

    path = RunFolder(_exported(values))
    data, told = Dataset.load(path.path), RunFolder.open(values["directory"]).read_description()
    console().print(f"{data.rows:,} transitions in {path.path}", markup=False)
    name = values["environment"] or ("" if told["external_environment"] else told["environment"])
    if name and isinstance(data.action_space, Discrete):  # what learns from datasets today
        # Compiled toy text observes its state alone: only Gymnasium's tells masks.
        backend = " --backend gymnasium" if has_mask(data.observation_space) else ""
        console().print(f"  operant train cql {name} --dataset {path.quoted}{backend}", markup=False)
    if values["json"]:
        print_json({"out": str(path.path), "steps": data.rows})
    return 0


def _exported(values: dict[str, Any]) -> Any:
    from operant import api
    from operant.recording import export_dataset, export_replay

    directory, out, environment = values["directory"], values["out"], values["environment"]
    if values["replay"]:
        return export_replay(directory, out, values["steps"], environment)
    agents = api.load(directory, environment=environment, which=values["which"])
    told = {name: values[name] for name in ("epsilon", "explore", "seed")}
    return export_dataset(agents, out, values["steps"] or PLAYED, environment=environment, **told)
