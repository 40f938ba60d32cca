"""The compiled environments of this package by name. Not to be imported before it is needed: gymnax takes a second."""

from collections.abc import Callable
from functools import partial
from typing import Any

from operant.environments.minatar import GAMES, MinAtar
from operant.environments.partial import CartPolePositions

OWN: dict[str, Callable[[], Any]] = {
    "CartPolePositions-v1": CartPolePositions,
    **{name: partial(MinAtar, name) for name in GAMES},
}
