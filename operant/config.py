"""Settings from a file: YAML as one writes it by hand, or the `run.json` of an earlier run.

Whatever it says becomes the flags that one would have typed, so that a file and a command line mean the same, and are
answered in the same words. YAML is read without its tags: nothing in a file is built or executed.
"""

from pathlib import Path
from typing import Any, TypeAlias

from operant.errors import OperantError
from operant.flags import kebab
from operant.parts.describe import PARTS
from operant.parts.schedules import Schedule, format_scalar
from operant.words import unknown_word

Flags: TypeAlias = list[tuple[str, list[str]]]  # names and values
LARGEST = 2**20  # bytes
# Of a run.json, what is a setting of train by the same name; its fields are settings too.
SETTINGS = ("steps", "num_envs", "backend", "env_kwargs", "evaluate_every", "stop_at", "log")


def read(path: str) -> tuple[dict[str, str], Flags]:
    """`(positionals, flags)` of a file: `algorithm` and `environment` where it names them, and `(name, values)`.

    Raises `OperantError`, naming the file, where it is neither YAML nor JSON, or holds what no flag can say.
    """
    told = _load(path)
    if "format" in told and isinstance(told.get("fields"), dict):
        told = _settings_of_run(told)
    positionals = {}
    for name in ("algorithm", "environment"):
        if name in told:
            positionals[name] = _text(told.pop(name), path, name)
    flags: Flags = []
    for name, value in told.items():
        flags += _flags(str(name).replace("-", "_"), value, path)
    return positionals, flags


def left(flags: Flags, typed: Flags) -> Flags:
    """Those of a file's `flags` that are not overridden; whoever types another part does not want the file's fields."""
    over = [name for name, _ in typed if name != "config"]
    return [flag for flag in flags if not any(flag[0] == name or flag[0].startswith(name + ".") for name in over)]


def check(flags: Flags, known: list[str], path: str) -> None:
    """Raise `OperantError` for a key that is not one of the flags `known`."""
    for name, _ in flags:
        if name not in known or name == "config":
            raise unknown_word(f"key in {path}", name, [*known, "algorithm", "environment"])


def _load(path: str) -> dict[Any, Any]:
    import yaml

    try:
        content = Path(path).read_bytes()
        if len(content) > LARGEST:
            raise OperantError(f"{path}: is larger than {LARGEST:,} bytes")
        told = yaml.safe_load(content.decode("utf-8"))
    except OSError as error:
        raise OperantError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise OperantError(f"{path}{line}: is neither YAML nor JSON") from error
    if not isinstance(told, dict):
        raise OperantError(f"{path}: holds no settings (name: value)")
    return told


def _settings_of_run(told: dict[Any, Any]) -> dict[Any, Any]:
    settings = {name: told[name] for name in ("algorithm", *SETTINGS) if told.get(name) not in (None, {})}
    if not told.get("external_environment") and ":" not in str(told.get("environment", ":")):
        settings["environment"] = told["environment"]
    if isinstance(dataset := told.get("dataset"), dict):
        settings["dataset"] = dataset.get("source")
    seeds = told.get("seeds")
    if isinstance(seeds, list) and seeds:
        settings |= {"seed": seeds[0], "num_seeds": len(seeds)}
    return settings | told["fields"]


def _flags(name: str, value: Any, path: str) -> Flags:
    """The flags that say `value`: one, or those of a part and its fields."""
    if not isinstance(value, dict):
        return [(name, [_text(value, path, name)])]
    if name == "env_kwargs":
        return [(name, [f"{key}={inner if isinstance(inner, str) else repr(inner)}" for key, inner in value.items()])]
    if "external" in value:
        raise OperantError(f"{path}: {name} is your own {str(value['external'])[:80]}, which no file can say")
    fields = dict(value)
    flags: Flags = []
    if "type" in fields:
        part = PARTS.get(str(fields.pop("type")))
        if part is None:
            raise OperantError(f"{path}: {name}: unknown part {str(value['type'])[:40]!r}")
        if issubclass(part, Schedule):
            return [(name, [_schedule(part, fields, path, name)])]
        flags.append((name, [kebab(part)]))
    for field, inner in fields.items():
        flags += _flags(f"{name}.{field}".replace("-", "_"), inner, path)
    return flags


def _schedule(kind: type, fields: dict[Any, Any], path: str, name: str) -> str:
    try:
        return format_scalar(kind(**fields))
    except OperantError as error:
        raise OperantError(f"{path}: {name}: {error}") from error
    except (TypeError, ValueError) as error:
        raise OperantError(f"{path}: {name}: no schedule {kind.__name__} is made from {list(fields)}") from error


def _text(value: Any, path: str, name: str) -> str:
    """A value as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ",".join(_text(item, path, name) for item in value) or "none"
    raise OperantError(f"{path}: {name} cannot be {str(value)[:40]!r}")
