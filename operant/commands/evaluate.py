"""`operant evaluate DIR`."""

from operant.commands.common import DIRECTORY, ENVIRONMENT, EPISODES, JSON, SEED, SWITCHES
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    flags = (EPISODES, Flag("seed", SEED, 0, "seed of the episodes"), ENVIRONMENT, JSON)
    command = Command("evaluate", "Play whole episodes with a trained agent.", DIRECTORY, flags)
    values = parse(command, cut(argv, SWITCHES))
    from operant import api
    from operant.commands.output import print_json
    from operant.commands.results import evaluate, facts_of, show, told_of

    agents = api.load(values["directory"], environment=values["environment"])
    each = evaluate(agents, values["episodes"], values["seed"], values["environment"])
    show(agents, each)
    if values["json"]:
        print_json(facts_of(agents) | {"out": values["directory"], "evaluation": told_of(each)})
    return 0
