"""The kinds of values that flags take: how each is read from text, and written as text."""

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """How a flag's value is written: `read` raises ValueError with what was expected."""

    metavar: str
    read: Callable[[str], Any]
    show: Callable[[Any], str] = str
    many: bool = False  # zero or more values, each `name=value`


def whole(least: int = 0, most: int | None = None) -> Kind:
    """A whole number of at least `least`; `200_000` and `2e5` are read too."""

    def read(text: str) -> int:
        wanted = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
        try:
            value = int(text)
        except ValueError:
            number = _finite(text, wanted)
            value = int(number)
            if value != number:
                raise ValueError(wanted) from None
        if value < least or (most is not None and value > most):
            raise ValueError(wanted)
        return value

    return Kind("INT", read, str)


def choice(*names: str) -> Kind:
    """One of `names`, written in any case, with or without its hyphens."""

    def read(text: str) -> str:
        plain = re.sub(r"[-_ ]", "", text.lower())
        for name in names:
            if re.sub(r"[-_ ]", "", name.lower()) == plain:
                return name
        raise ValueError("one of " + ", ".join(names))

    return Kind("{" + ",".join(names) + "}", read, str)


def optional(kind: Kind) -> Kind:
    """`kind`, or `none` for None."""
    return Kind(
        f"{kind.metavar}|none",
        lambda text: None if text.lower() == "none" else kind.read(text),
        lambda value: "none" if value is None else kind.show(value),
    )


def gridded(kind: Kind) -> Kind:
    """`kind`, or several values of it with commas (those within brackets are a value's own): a list."""

    def read(text: str) -> Any:
        words = re.split(r",(?![^()]*\))", text)
        return kind.read(text) if len(words) == 1 else [kind.read(word.strip()) for word in words]

    def show(value: Any) -> str:
        return ",".join(map(kind.show, value)) if isinstance(value, list) else kind.show(value)

    return Kind(kind.metavar, read, show)


def single(kind: Kind) -> Kind:
    """`kind`, which refuses several values with commas by the reason that they are no grid."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError:
            if "," in text:
                raise ValueError("one value, each being another program: grids are over numbers inside one") from None
            raise

    return Kind(kind.metavar, read, kind.show)


def several(kind: Kind, wanted: str) -> Kind:
    """A tuple of `kind`, with commas; `none` is the empty one."""

    def read(text: str) -> tuple:
        words = [word.strip() for word in text.strip("()[] ").split(",")]
        try:
            return () if text.lower() in ("none", "") else tuple(kind.read(word) for word in words if word)
        except ValueError:
            raise ValueError(wanted) from None

    return Kind(f"{kind.metavar},...", read, lambda value: ",".join(map(kind.show, value)) or "none")


def rows(kind: Kind, wanted: str) -> Kind:
    """A tuple of tuples of `kind`: commas within a row, semicolons between rows; `none` is the empty one."""
    row = several(kind, wanted)

    def read(text: str) -> tuple:
        return () if text.lower() == "none" else tuple(row.read(line) for line in text.strip("; ").split(";"))

    return Kind(f"{row.metavar};...", read, lambda value: ";".join(map(row.show, value)) or "none")


def _finite(text: str, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(wanted)
    return value


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise ValueError("NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value  # plain text


NUMBER = Kind("FLOAT", lambda text: _finite(text, "a number"), repr)
TEXT = Kind("TEXT", str)
TRUTH = Kind("{true,false}", _truth, lambda value: str(value).lower())
PAIRS = Kind("NAME=VALUE", _pair, many=True)
