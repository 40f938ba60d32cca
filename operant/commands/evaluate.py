"""`operant evaluate DIR`."""

from operant.commands.common import DIRECTORY, ENVIRONMENT, EPISODES, JSON, SEED, SWITCHES, WHICH
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    flags = (WHICH, EPISODES, Flag("seed", SEED, 0, "seed of the episodes"), ENVIRONMENT, JSON)
    command = Command("evaluate", "Play whole episodes with a trained agent.", DIRECTORY, flags)
    values = parse(command, cut(argv, SWITCHES))
    from operant import api
    from operant.commands.output import print_json
    from operant.commands.results import beside, evaluate, facts_of, random_of, show, told_of

    agents = api.load(values["directory"], environment=values["environment"], which=values["which"])
    each = evaluate(agents, values["episodes"], values["seed"], values["environment"])
    random = random_of(agents, values["episodes"], values["seed"], values["environment"])
    show(agents, each, random, values["which"])
    if values["json"]:
        told = {"out": values["directory"], "which": values["which"], "evaluation": told_of(agents, each)}
        print_json(facts_of(agents) | told | beside(random))
    return 0
