"""`operant check ENVIRONMENT`."""

from operant.commands.common import BACKENDS, JSON, SEED, SWITCHES
from operant.kinds import PAIRS, whole
from operant.parsing import Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    flags = (
        Flag("backend", BACKENDS, "auto", "where the environment runs; auto prefers a compiled twin"),
        Flag("env_kwargs", PAIRS, (), "arguments of the environment"),
        Flag("steps", whole(1, 10**7), 1000, "random steps to play"),
        Flag("seed", SEED, 0, "seed of the episodes and the actions"),
        JSON,
    )
    about = "Look for what would make an agent learn the wrong thing; exit code 1 where something is found."
    command = Command("check", about, (("environment", "an id, such as CartPole-v1, or module:Class"),), flags)
    values = parse(command, cut(argv, SWITCHES))
    from operant.checking.run import check
    from operant.commands.output import console, print_json

    report = check(
        values["environment"],
        backend=values["backend"],
        env_kwargs=dict(values["env_kwargs"]),
        steps=values["steps"],
        seed=values["seed"],
    )
    console().print(str(report), markup=False)
    if values["json"]:
        print_json(report.to_json())
    return 0 if report.ok else 1
