"""`operant train ALGORITHM ENVIRONMENT`."""

import dataclasses
from typing import Any

from operant.commands.common import BACKENDS, DATASET, DEVICE, EPISODES, JSON, NO_GIF, PROGRESS, SEED, STEPS, SWITCHES
from operant.errors import OperantError
from operant.kinds import NUMBER, PAIRS, TEXT, Kind, choice, optional, several, whole
from operant.parsing import Arguments, Command, Flag, cut, parse

ENVIRONMENT = ("environment", "an id, such as CartPole-v1")
# What train is told in the flags' own words.
PLAIN = (
    *("steps", "seed", "num_seeds", "preset", "backend", "dataset"),
    *("evaluate_every", "stop_at", "log", "device", "progress"),
)


def main(argv: list[str]) -> int:
    arguments = cut(argv, SWITCHES)
    path = _last(arguments, "config")
    positionals, from_file = {}, []
    if path is not None:
        from operant import config

        positionals, from_file = config.read(path)
        from_file = config.left(from_file, arguments.flags)
    if not arguments.positionals and "algorithm" not in positionals:
        return _without_name(arguments)
    from operant import catalogue
    from operant.arguments import PRESETS, find_preset, make_algorithm
    from operant.flags import assemble, flags_of

    entry = catalogue.find(arguments.positionals.pop(0) if arguments.positionals else positionals["algorithm"])
    if not arguments.positionals and "environment" in positionals:
        arguments.positionals.append(positionals["environment"])
    asked = {flag for flag, _ in arguments.flags}
    arguments.flags = [*from_file, *arguments.flags]
    chosen = {name: values[-1] for name, values in arguments.flags if values}
    environment = arguments.positionals[0] if arguments.positionals else None
    preset = None
    if "dataset" in chosen and "num_envs" in asked:
        raise OperantError("--num-envs means nothing with --dataset: no environment is stepped to learn from")
    if "dataset" not in chosen:
        preset = find_preset(entry.name, environment, _preset_word(chosen.get("preset", "auto"), PRESETS))
    default = make_algorithm(entry.name, {}, preset)
    flags = _flags(preset or entry, flags_of(default, chosen), PRESETS)
    if path is not None:
        config.check(from_file, [flag.name for flag in flags if flag.kind is not None], path)
    values = parse(Command(f"train {entry.name}", _about(entry), (ENVIRONMENT,), flags), arguments)
    algorithm = assemble(default, chosen, values)
    pairs = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(default) if field.init}
    fields = {name: value for name, value in pairs.items() if value != getattr(default, name)}
    return run(entry.name, fields, values)


def run(name: str, fields: dict[str, Any], values: dict[str, Any]) -> int:
    from operant import api
    from operant.commands.results import finish

    settings: dict[str, Any] = {setting: values[setting] for setting in PLAIN}
    if values["dataset"] is None:  # otherwise no environment is stepped to learn from
        settings["num_envs"] = values["num_envs"]
    out, env_kwargs = values["out"] or True, dict(values["env_kwargs"])
    agents = api.train(name, values["environment"], env_kwargs=env_kwargs, out=out, **settings, **fields)
    return finish(agents, None, values)


def _flags(usual: Any, fields: list[Flag], presets: tuple[str, ...]) -> tuple[Flag, ...]:
    """All flags; `usual` has the steps and environments that are taken where none are given."""
    return (
        Flag("steps", STEPS, usual.steps, "environment steps over all environments, for each seed"),
        Flag("seed", SEED, 0, "the first seed"),
        Flag("num_seeds", whole(1, 10_000), 1, "seeds, trained in one run"),
        Flag("num_envs", whole(1, 10**6), usual.num_envs, "parallel environments"),
        Flag("dataset", DATASET, None, "learn from it alone, in gradient steps: a dataset's folder, or minari:ID"),
        Flag("preset", choice(*presets), "auto", "tuned settings for this environment, where there are some"),
        Flag(
            "config", Kind("FILE", str, lambda value: value or "none"), None, "settings: YAML, or an earlier run.json"
        ),
        Flag("backend", BACKENDS, "auto", "where the environment runs; auto prefers a compiled twin"),
        Flag("env_kwargs", PAIRS, (), "arguments of the environment"),
        Flag(
            "evaluate_every", optional(whole()), None, "steps between evaluations of the greedy policy; keeps the best"
        ),
        Flag("stop_at", optional(NUMBER), None, "stop once every seed's evaluation has this mean return"),
        Flag("out", Kind("DIR", str, lambda value: value or "a new folder in runs/"), None, "the run's folder"),
        Flag("log", several(TEXT, "names"), ("tensorboard",), "where metrics go too: tensorboard, wandb"),
        DEVICE,
        PROGRESS,
        EPISODES,
        NO_GIF,
        JSON,
        *fields,
    )


def _about(entry: Any) -> str:
    from operant import presets

    tuned = ", ".join(presets.of(entry.name))
    return f"{entry.name}: {entry.summary}" + (f". Presets for {tuned}" if tuned else "")


def _preset_word(text: str, presets: tuple[str, ...]) -> str:
    try:
        return choice(*presets).read(text)
    except ValueError:
        return "auto"  # whoever reads the flags refuses it


def _last(arguments: Arguments, name: str) -> str | None:
    return next((values[-1] for flag, values in reversed(arguments.flags) if flag == name and values), None)


def _without_name(arguments: Arguments) -> int:
    if not arguments.help:
        raise OperantError("ALGORITHM is missing: operant train ALGORITHM ENVIRONMENT, as in train ppo CartPole-v1")
    print("usage: operant train ALGORITHM ENVIRONMENT [--FIELD VALUE ...]\n")
    print("'operant algorithms' lists the algorithms; 'operant train ppo --help' lists the fields of ppo.")
    return 0
