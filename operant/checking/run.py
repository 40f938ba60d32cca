"""check(): every form of environment, and the checks that fit it."""

import functools
import warnings
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from operant.checking.compiled import check_compiled
from operant.checking.host import check_host
from operant.checking.parity import check_parity
from operant.checking.report import Report
from operant.checking.vector import check_vector
from operant.environments import Compiled, Host
from operant.environments.make import EnvironmentLike, Factory, name_of, resolve
from operant.errors import OperantError


def check(
    environment: EnvironmentLike,
    *,
    backend: str = "auto",
    env_kwargs: dict[str, Any] | None = None,
    steps: int = 1000,
    seed: int = 0,
) -> Report:
    """Look for what would make an agent learn the wrong thing from `environment`, by playing `steps` random steps.

    `environment`, `backend` and `env_kwargs` are what `train` takes. The report is true where nothing was found; each
    finding has a name, what was seen, its fix and a level: an "error" makes learning wrong or impossible, a "warning"
    worse or not reproducible. A compiled environment with a Gymnasium twin is compared with it, unless `env_kwargs`
    change it. Where copies can be made, two are compared too; an instance or a vector environment is played as it is.

    Raises `OperantError` for an environment that cannot be made at all.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise OperantError(f"steps must be a whole number of at least 1, not {steps!r}")
    kwargs = dict(env_kwargs or {})
    with warnings.catch_warnings(action="ignore"):  # Gymnasium's say what the findings say
        found = resolve(environment, backend, kwargs)
        name = found.name if isinstance(found, Factory | Compiled | Host) else name_of(found)
        report = Report(name, "compiled" if isinstance(found, Compiled) else "gymnasium")
        if isinstance(found, Compiled):
            if report.add(check_compiled(found, steps, seed)) and not kwargs:
                report.add(check_parity(found, seed))
        elif isinstance(found, VectorEnv | Host):
            report.add(check_vector(found.vector if isinstance(found, Host) else found, steps, seed))
        elif isinstance(found, Factory):
            construct = functools.partial(_plain, found)
            found.first.close()
            first = construct()
            try:
                report.add(check_host(first, construct, steps, seed))
            finally:
                first.close()
        else:
            report.add(check_host(found, None, steps, seed))
    return report


def _plain(factory: Factory) -> gymnasium.Env:
    """A copy without Gymnasium's own checker, which would stop at the first thing that it dislikes."""
    made = layer = factory.construct()
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer.env, gymnasium.wrappers.PassiveEnvChecker):
            layer.env = layer.env.env
        layer = layer.env
    return made
