"""Environments: `make()` and the two edges, compiled and host."""

from operant.environments.compiled import Compiled, Transition
from operant.environments.host import Host
from operant.environments.make import BACKENDS, compiled_names, gymnasium_names, make

__all__ = ["BACKENDS", "Compiled", "Host", "Transition", "compiled_names", "gymnasium_names", "make"]
