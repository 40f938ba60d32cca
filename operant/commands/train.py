"""`operant train ALGORITHM ENVIRONMENT`."""

from typing import Any

from operant.commands.common import BACKENDS, EPISODES, JSON, NO_GIF, SEED, STEPS, SWITCHES
from operant.errors import OperantError
from operant.kinds import PAIRS, Kind, whole
from operant.parsing import Arguments, Command, Flag, cut, parse


def main(argv: list[str]) -> int:
    arguments = cut(argv, SWITCHES)
    if not arguments.positionals:
        return _without_name(arguments)
    from operant import catalogue
    from operant.flags import assemble, flags_of

    entry = catalogue.find(arguments.positionals.pop(0))
    chosen = {name: values[-1] for name, values in arguments.flags if values}
    default = entry.make()
    flags = (
        Flag("steps", STEPS, entry.steps, "environment steps over all environments, for each seed"),
        Flag("seed", SEED, 0, "the first seed"),
        Flag("num_seeds", whole(1, 10_000), 1, "seeds trained side by side"),
        Flag("num_envs", whole(1, 10**6), entry.num_envs, "parallel environments"),
        Flag("backend", BACKENDS, "auto", "where the environment runs; auto prefers a compiled twin"),
        Flag("env_kwargs", PAIRS, (), "arguments of the environment"),
        Flag("out", Kind("DIR", str, lambda value: value or "a new folder in runs/"), None, "the run's folder"),
        EPISODES,
        NO_GIF,
        JSON,
        *flags_of(default, chosen),
    )
    about = f"{entry.name}: {entry.summary}"
    command = Command(f"train {entry.name}", about, (("environment", "an id, such as CartPole-v1"),), flags)
    values = parse(command, arguments)
    return run(assemble(default, chosen, values), values["environment"], values)


def run(algorithm: Any, environment: str, values: dict[str, Any]) -> int:
    from operant import api
    from operant.commands.results import finish

    agents = api.train(
        algorithm,
        environment,
        steps=values["steps"],
        seed=values["seed"],
        num_seeds=values["num_seeds"],
        num_envs=values["num_envs"],
        backend=values["backend"],
        env_kwargs=dict(values["env_kwargs"]),
        out=values["out"] or True,
    )
    return finish(agents, None, values)


def _without_name(arguments: Arguments) -> int:
    if not arguments.help:
        raise OperantError("ALGORITHM is missing: operant train ALGORITHM ENVIRONMENT, as in train ppo CartPole-v1")
    print("usage: operant train ALGORITHM ENVIRONMENT [--FIELD VALUE ...]\n")
    print("'operant algorithms' lists the algorithms; 'operant train ppo --help' lists the fields of ppo.")
    return 0
