"""Errors that are meant for people: one line that says what is wrong and what was meant."""

import difflib
from collections.abc import Iterable


class OperantError(Exception):
    """Something the user can put right; the command line prints its message and exits with code 2."""


class CheckpointError(OperantError):
    """A file of a run is missing, damaged or from something else; the message names the file."""


class DivergedError(OperantError):
    """Training produced NaN or infinity; the message names the quantity and the step."""


def unknown(kind: str, word: str, known: Iterable[str], hint: str | None = None) -> OperantError:
    """The error for a name that is not one of `known`, with the nearest known name."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    meant = hint or (f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known))
    return OperantError(f"unknown {kind} {word!r}: {meant}")
