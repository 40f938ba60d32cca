"""make(): from what a user calls an environment to one of the two edges, compiled or host."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
from gymnasium.vector import VectorEnv

from operant.environments.compiled import Compiled
from operant.environments.host import Host
from operant.errors import OperantError, unknown

BACKENDS = ("auto", "compiled", "gymnasium")
EnvironmentLike: TypeAlias = str | gymnasium.Env | VectorEnv | Compiled | Callable[..., Any] | Any


def make(
    environment: EnvironmentLike, num_envs: int = 1, backend: str = "auto", kwargs: dict[str, Any] | None = None
) -> Compiled | Host:
    """The environment behind `environment`, ready for a driver.

    `environment` is an id (`CartPole-v1`, `my_package:MyEnv-v0`), a class or factory of Gymnasium environments, a
    Gymnasium vector environment, a compiled environment (gymnax's methods), or one Gymnasium instance, which is
    never copied and so is exactly one environment. `backend="auto"` prefers a compiled twin where an id has one.
    `kwargs` go to the environment's constructor, or to the parameters of a compiled one.

    Raises `OperantError` for an unknown id, an unknown backend, or a backend that the environment does not have.
    """
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    kwargs = kwargs or {}
    if isinstance(environment, Compiled | Host):
        return environment
    if isinstance(environment, str):
        return _by_name(environment, num_envs, backend, kwargs)
    if not isinstance(environment, gymnasium.Env | VectorEnv | type) and hasattr(environment, "action_space"):
        if callable(environment.action_space):
            return _compiled(environment, None, name_of(environment), kwargs)
    if backend == "compiled":
        raise OperantError(f"{name_of(environment)} has no compiled backend: it is a Gymnasium environment")
    if isinstance(environment, VectorEnv):
        return Host(environment, name_of(environment))
    if isinstance(environment, gymnasium.Env):
        return Host([lambda: environment], name_of(environment))
    if callable(environment):
        made = environment(**kwargs)
        if isinstance(made, VectorEnv) or not isinstance(made, gymnasium.Env):
            return make(made, num_envs, backend)
        made.close()
        return Host([functools.partial(environment, **kwargs)] * num_envs, name_of(environment))
    raise OperantError(f"{environment!r} is not an environment: give an id, a class, a factory or an instance")


def name_of(environment: EnvironmentLike) -> str:
    """What to call an environment in messages and in the run's description."""
    if isinstance(environment, str):
        return environment
    spec = getattr(environment, "spec", None)
    if getattr(spec, "id", None):
        return spec.id
    named = environment if hasattr(environment, "__name__") else type(environment)
    name = getattr(environment, "name", None)
    return name if isinstance(name, str) else named.__name__


def compiled_names() -> list[str]:
    """The ids that have a compiled backend."""
    import gymnax

    return [name for name in gymnax.registered_envs if name != "MNISTBandit-bsuite"]  # it downloads its data


def gymnasium_names() -> list[str]:
    """The ids that Gymnasium knows at present."""
    return sorted(gymnasium.registry)


def _by_name(name: str, num_envs: int, backend: str, kwargs: dict[str, Any]) -> Compiled | Host:
    if backend != "gymnasium" and ":" not in name and name in compiled_names():
        import gymnax

        environment, params = gymnax.make(name)
        fits = all(hasattr(params, field) for field in kwargs)
        if fits or backend == "compiled":
            return _compiled(environment, params, name, kwargs)
    if backend == "compiled":
        raise unknown("compiled environment", name, compiled_names())
    module, _, plain = name.rpartition(":")
    if not module and name not in gymnasium.registry:
        raise unknown("environment", name, {*compiled_names(), *gymnasium_names()})
    try:
        gymnasium.make(name, **kwargs).close()
    except Exception as error:
        raise OperantError(f"{plain} could not be made: {type(error).__name__}: {_first_line(error)}") from error
    return Host([functools.partial(gymnasium.make, name, **kwargs)] * num_envs, name)


def _compiled(environment: Any, params: Any, name: str, kwargs: dict[str, Any]) -> Compiled:
    params = params if params is not None else getattr(environment, "default_params", None)
    for field, value in kwargs.items():
        if not hasattr(params, field):
            known = vars(params) if hasattr(params, "__dict__") else []
            raise unknown(f"parameter of {name}", field, known)
        params = params.replace(**{field: value})
    return Compiled(environment, params, name)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
