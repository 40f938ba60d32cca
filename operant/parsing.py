"""The command line's grammar: flags of one value each, refused in one line, read and explained by tyro.

Tyro answers a mistake with a box of several lines, and reports some of them only after others. So arguments are
first cut into positionals and flags here, where unknown names get the word that was meant; tyro reads the rest.
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from operant.errors import OperantError
from operant.kinds import Kind
from operant.words import unknown_word

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Flag:
    """`--name VALUE`, underscores written as hyphens; without a kind it is a switch."""

    name: str
    kind: Kind | None
    default: Any
    help: str

    def __str__(self) -> str:
        return dashed(self.name)


@dataclass(frozen=True)
class Command:
    """A command: what it is called, takes and does."""

    name: str
    about: str
    positionals: tuple[tuple[str, str], ...]  # names and what they are
    flags: tuple[Flag, ...]


@dataclass
class Arguments:
    """Arguments cut into positionals, and flags `(name, values)` in their order."""

    positionals: list[str]
    flags: list[tuple[str, list[str]]]
    help: bool = False


def dashed(name: str) -> str:
    """A flag as it is typed."""
    return "--" + name.replace("_", "-")


def cut(argv: Sequence[str], switches: Sequence[str]) -> Arguments:
    """Cut `argv`; every flag but `switches` takes the next argument, unless that is a flag itself."""
    found, rest = Arguments([], []), list(argv)
    while rest:
        word = rest.pop(0)
        if word in HELP:
            found.help = True
        elif not word.startswith("-") or _is_number(word):
            found.positionals.append(word)
        else:
            name, equals, value = word.partition("=")
            name = name.lstrip("-").replace("-", "_")
            values = [value] if equals else []
            if name == "env_kwargs":
                while rest and "=" in rest[0] and not rest[0].startswith("-"):
                    values.append(rest.pop(0))
            elif not equals and name not in switches and rest and (not rest[0].startswith("-") or _is_number(rest[0])):
                values.append(rest.pop(0))
            found.flags.append((name, values))
    return found


def parse(command: Command, arguments: Arguments) -> dict[str, Any]:
    """The values of `command`'s positionals and flags. Prints the help and exits with 0 where it was asked for.

    Raises `OperantError` for anything that is unknown, missing, left over or of the wrong type.
    """
    if arguments.help:
        _read(command, ["--help"])
    names = [name for name, _ in command.positionals]
    given = arguments.positionals
    words = [*given, *(word for name, values in arguments.flags for word in _checked(command, name, values))]
    if len(given) < len(names):
        raise OperantError(f"{names[len(given)].upper()} is missing: operant {command.name} {' '.join(names).upper()}")
    if len(given) > len(names):
        raise OperantError(f"{given[len(names)]!r} is one argument too many for 'operant {command.name}'")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return _read(command, words)
    except SystemExit:
        told = re.sub(r"[\s│╭╮╰╯─]+", " ", said.getvalue()).strip()
        raise OperantError(told or "these arguments cannot be read") from None


def _checked(command: Command, name: str, values: list[str]) -> list[str]:
    """One flag as tyro shall see it: `--name=value`, so that no value is taken for a flag."""
    flags = {flag.name: flag for flag in command.flags}
    if name not in flags:
        arguments = [positional for positional, _ in command.positionals]
        if name in arguments:
            raise OperantError(f"{dashed(name)} is no flag: operant {command.name} {' '.join(arguments).upper()}")

        def show(word: str) -> str:
            return word.upper() if word in arguments else dashed(word)

        advice = f"'operant {command.name} --help' lists them"
        raise unknown_word("flag", name, [*flags, *arguments], show, advice)
    kind = flags[name].kind
    if kind is None:
        if values:
            raise OperantError(f"{dashed(name)} takes no value, not {values[0]!r}")
        return [dashed(name)]
    if not values:
        raise OperantError(f"{dashed(name)} needs a value: {kind.metavar}")
    return [dashed(name), *values] if kind.many else [f"{dashed(name)}={values[0]}"]


def _read(command: Command, words: list[str]) -> dict[str, Any]:
    """What tyro makes of a dataclass whose members are the command's arguments."""
    import tyro

    members: list[Any] = []
    for name, about in command.positionals:
        members.append((name, Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar=name.upper(), help=about)]))
    for number, flag in enumerate(command.flags):
        hint = "" if flag.kind is None else f"(default: {flag.kind.show(flag.default)})"
        named = tyro.conf.arg(name=flag.name.replace("_", "-"), help=flag.help, help_behavior_hint=hint)
        form: Any = Annotated[bool, named] if flag.kind is None else Annotated[Any, named, _spec(flag, flag.kind)]
        # Dots are no part of an identifier, so members are numbered.
        members.append((f"flag_{number}", form, dataclasses.field(default=flag.default)))
    whole_form = dataclasses.make_dataclass("Arguments", members)
    prog, config = f"operant {command.name}", (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(whole_form, prog=prog, description=command.about, args=words, config=config)
    names = [name for name, _ in command.positionals] + [flag.name for flag in command.flags]
    values = [getattr(parsed, field.name) for field in dataclasses.fields(whole_form)]
    return dict(zip(names, values, strict=True))


def _spec(flag: Flag, kind: Kind) -> Any:
    from tyro.constructors import PrimitiveConstructorSpec

    def read(words: list[str]) -> Any:
        try:
            return tuple(kind.read(word) for word in words) if kind.many else kind.read(words[0])
        except (ValueError, OverflowError) as error:
            # Not a ValueError, which tyro would turn into a box.
            raise OperantError(f"{flag} must be {error}, not {words[0]!r}") from None

    def show(value: Any) -> list[str]:
        return [] if kind.many else [kind.show(value)]

    return PrimitiveConstructorSpec(
        nargs="*" if kind.many else 1,
        metavar=kind.metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=show,
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
