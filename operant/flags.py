"""An algorithm's fields as flags: read off its dataclass, with the fields of its parts under dotted names.

`--learning-rate 1e-3`, `--network.hidden 256,256`; `--network gru` chooses another part, whose own fields then are
the dotted flags.
"""

import ast
import dataclasses
import functools
import inspect
import io
import math
import re
import tokenize
import types
import typing
from typing import Any

from operant.errors import OperantError, unknown
from operant.kinds import NUMBER, TEXT, TRUTH, Kind, choice, gridded, optional, rows, several, single, whole
from operant.parsing import Flag
from operant.parts.component import data_fields, is_component
from operant.parts.describe import FAMILIES, PARTS
from operant.parts.schedules import Schedule, format_scalar, parse_scalar
from operant.words import MEANINGS

_SPELLED = {"MinAtarCNN": "minatar-cnn", "RMSProp": "rmsprop", "RAdam": "radam"}


def flags_of(default: Any, chosen: dict[str, str] | None = None, prefix: str = "") -> list[Flag]:
    """The flags of `default`'s fields (an algorithm object), depth first.

    `chosen` maps a part's field to the name of the part that takes its place. Raises `OperantError` for a name
    that no part of that family has.
    """
    flags = []
    for field, name, value in _members(default, chosen or {}, prefix):
        about = _comments(type(default)).get(field.name) or MEANINGS.get(field.name, "")
        hint = _hints(type(default))[field.name]
        if family := _family(value, hint):
            flags.append(Flag(name, choice(*family), "none" if value is None else kebab(type(value)), about))
        if _is_nested(value):
            flags += flags_of(value, chosen, name + ".")
        elif not family and (kind := _kind(hint, value)):
            # Only what may change within one program can have several values at once.
            if is_component(default) and field.name in data_fields(type(default)):
                kind = gridded(kind)
            elif typing.get_origin(hint) is not tuple:
                kind = single(kind)
            flags.append(Flag(name, kind, value, about))
    return flags


def assemble(default: Any, chosen: dict[str, str], values: dict[str, Any], prefix: str = "") -> Any:
    """`default` with the parts `chosen` and the flags' `values` by name."""
    changes = {}
    for field, name, value in _members(default, chosen, prefix):
        if _is_nested(value):
            changes[field.name] = assemble(value, chosen, values, name + ".")
        elif name in values:
            changes[field.name] = None if _family(value, _hints(type(default))[field.name]) else values[name]
    return dataclasses.replace(default, **changes)


def kebab(part: type) -> str:
    """A part's name on the command line: `epsilon-greedy`, `gru`."""
    return _SPELLED.get(part.__name__) or re.sub(r"(?<=[a-z])(?=[A-Z])", "-", part.__name__).lower()


def _members(default: Any, chosen: dict[str, str], prefix: str) -> list[tuple[dataclasses.Field, str, Any]]:
    """The fields with their dotted names and their values, chosen parts in place."""
    members = []
    for field in dataclasses.fields(default):
        name, value = prefix + field.name, getattr(default, field.name)
        if name in chosen and (family := _family(value, _hints(type(default))[field.name])):
            value = _other(value, name, chosen[name], family)
        if field.init:
            members.append((field, name, value))
    return members


def _other(value: Any, name: str, word: str, family: dict[str, type | None]) -> Any:
    """What is called `word`, with its defaults, in the place of `value`; what it must be told it takes from there."""
    try:
        part = family[choice(*family).read(word)]
    except ValueError:
        if "," in word:
            raise OperantError(f"{name} cannot be in a grid: each of {word} is another program") from None
        raise unknown(name, word, family) from None
    if part is None or part is type(value):
        return None if part is None else value
    needed = [field.name for field in dataclasses.fields(part) if field.default is dataclasses.MISSING]
    return part(**{field: getattr(value, field) for field in needed})


def _is_nested(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, Schedule)


def _is_part(value: Any) -> bool:
    return _is_nested(value) and PARTS.get(type(value).__name__) is type(value)


def _family(value: Any, hint: Any) -> dict[str, type | None]:
    """What may stand where `value` stands: the parts of its family; where it may be none, what the field names."""
    named: list[type] = [part for part in PARTS.values() if part in typing.get_args(hint)]
    if _is_part(value):
        named = [part for family in FAMILIES if type(value) in family for part in family]
    elif value is not None or not named:
        return {}
    family: dict[str, type | None] = {kebab(part): part for part in named}
    return family | ({"none": None} if type(None) in typing.get_args(hint) else {})


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _kind(hint: Any, value: Any) -> Kind | None:
    """How a field is written, None for one that cannot be."""
    if typing.get_origin(hint) is typing.Annotated:
        return _kind(typing.get_args(hint)[0], value)
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return choice(*choices)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if Schedule in choices:
            return optional(SCALAR) if type(None) in choices else SCALAR
        inner = [each for each in choices if each is not type(None)]
        kind = _kind(inner[0], value) if len(inner) == 1 else None
        return optional(kind) if kind else None
    if typing.get_origin(hint) is tuple:
        return _TUPLES.get(choices)
    return _PLAIN.get(hint)


def _scalar(text: str) -> Any:
    wanted = "a number or a schedule such as linear(1e-3,0) or linear(1,0.05,over=0.5)"
    try:
        value: Any = parse_scalar(text)
    except OperantError:
        raise ValueError(wanted) from None
    numbers: Any = (value,) if isinstance(value, float) else dataclasses.astuple(value)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(wanted)
    return value


SCALAR = Kind("FLOAT|SCHEDULE", _scalar, format_scalar)
_PLAIN = {float: NUMBER, int: whole(), bool: TRUTH, str: TEXT}
_TUPLES = {
    (int, ...): several(whole(), "whole numbers with commas, such as 64,64"),
    (str, ...): several(TEXT, "names"),
    (tuple[float, ...], ...): rows(NUMBER, "rows of numbers, such as 0.5,0.5;1,0"),
}


def _comments(cls: type) -> dict[str, str]:
    """The comment behind each field of `cls`, its own or the nearest that it inherits."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        said |= _own_comments(base) if dataclasses.is_dataclass(base) else {}
    return said


@functools.cache  # reading the source anew for each field would take most of a second
def _own_comments(cls: type) -> dict[str, str]:
    """The comment behind each field in the source of `cls`; none where there is no source."""
    try:
        source = inspect.cleandoc("\n" + inspect.getsource(cls))
        body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        return {}
    said = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    lines = {node.target.id: node.lineno for node in body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    return {name: said[line] for name, line in lines.items() if line in said}
