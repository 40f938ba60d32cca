"""make(): from what a user calls an environment to one of the two edges, compiled or host."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
from gymnasium.vector import VectorEnv

from operant.environments.compiled import Compiled
from operant.environments.finite import Finite
from operant.environments.host import Host, first_line
from operant.errors import OperantError, unknown
from operant.finite.mdp import MDP
from operant.finite.named import problem, problem_names

BACKENDS = ("auto", "compiled", "gymnasium")
EnvironmentLike: TypeAlias = str | gymnasium.Env | VectorEnv | Compiled | Callable[..., Any] | Any


def make(
    environment: EnvironmentLike, num_envs: int = 1, backend: str = "auto", kwargs: dict[str, Any] | None = None
) -> Compiled | Host:
    """The environment behind `environment`, ready for a driver.

    `environment` is an id (`CartPole-v1`, `my_package:MyEnv-v0`), a class or factory of Gymnasium environments, a
    Gymnasium vector environment, a compiled environment (gymnax's methods), a finite MDP, or one Gymnasium instance,
    which is never copied and so is exactly one environment. Names are Gymnasium's, gymnax's and those of
    `finite.problem`. `backend="auto"` prefers a compiled twin where an id has one. `kwargs` go to the environment's
    constructor, or to the parameters of a compiled one (`max_steps_in_episode` of a finite MDP).

    Raises `OperantError` for an unknown id, an unknown backend, or a backend that the environment does not have.
    """
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    kwargs = kwargs or {}
    if isinstance(environment, Compiled | Host):
        return environment
    if isinstance(environment, str):
        return _by_name(environment, num_envs, backend, kwargs)
    name = name_of(environment)
    if isinstance(environment, MDP) or hasattr(environment, "stored"):
        environment = _finite(environment, name)
    if _is_compiled(environment):
        if backend == "gymnasium":
            raise OperantError(f"{name} has no gymnasium backend: it is a compiled environment")
        return _compiled(environment, None, name, kwargs)
    if isinstance(environment, gymnasium.Env | VectorEnv):
        if backend == "compiled":
            raise OperantError(f"{name} has no compiled backend: it is a Gymnasium environment")
        return Host(environment if isinstance(environment, VectorEnv) else [lambda: environment], name)
    if callable(environment):
        construct = functools.partial(_constructed, name, environment, kwargs)
        made = construct()
        if isinstance(made, gymnasium.Env) and backend != "compiled":
            return _several(made, construct, num_envs, name)
        if isinstance(made, gymnasium.Env):
            made.close()
        if isinstance(made, gymnasium.Env | VectorEnv) or _is_compiled(made):
            return make(made, num_envs, backend)
        raise OperantError(f"{name} made {type(made).__name__}, which is not an environment")
    raise OperantError(f"{environment!r} is not an environment: give an id, a class, a factory or an instance")


def _is_compiled(environment: Any) -> bool:
    """Whether this is an instance with gymnax's methods, whose spaces are methods too."""
    return not isinstance(environment, type) and callable(getattr(environment, "action_space", None))


def _constructed(name: str, construct: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    try:
        return construct(**kwargs)
    except OperantError:
        raise
    except Exception as error:
        raise OperantError(f"{name} could not be made: {type(error).__name__}: {first_line(error)}") from error


def _several(first: gymnasium.Env, construct: Callable[[], gymnasium.Env], num_envs: int, name: str) -> Host:
    """`num_envs` environments, of which the first was already made."""
    made = [first]
    try:
        while len(made) < num_envs:
            made.append(construct())
            if made[-1] is first:
                raise OperantError(f"{name} gave the same environment twice: a factory makes a new one at each call")
        return Host([lambda one=one: one for one in made], name)
    except Exception:
        for one in made:
            one.close()
        raise


def name_of(environment: EnvironmentLike) -> str:
    """What to call an environment in messages and in the run's description."""
    if isinstance(environment, str):
        return environment
    spec = getattr(environment, "spec", None)
    if isinstance(identity := getattr(spec, "id", None), str):
        return identity
    named: Any = environment if hasattr(environment, "__name__") else type(environment)
    name = getattr(environment, "name", None)
    return name if isinstance(name, str) else named.__name__


def compiled_names() -> list[str]:
    """The ids that have a compiled backend."""
    return [*_gymnax_names(), *problem_names()]


def gymnasium_names() -> list[str]:
    """The ids that Gymnasium knows at present."""
    return sorted(gymnasium.registry)


def _gymnax_names() -> list[str]:
    import gymnax

    return [name for name in gymnax.registered_envs if name != "MNISTBandit-bsuite"]  # it downloads its data


def _by_name(name: str, num_envs: int, backend: str, kwargs: dict[str, Any]) -> Compiled | Host:
    if name in problem_names() and (backend == "compiled" or (backend == "auto" and "render_mode" not in kwargs)):
        return Compiled(_finite(problem(name, **kwargs), name))
    if backend != "gymnasium" and ":" not in name and name in _gymnax_names():
        import gymnax

        environment, params = gymnax.make(name)
        if set(kwargs) <= set(_names(params)) or backend == "compiled":
            return _compiled(environment, params, name, kwargs)
    if backend != "gymnasium" and name not in gymnasium.registry and Path(name).is_file():
        return make(problem(name), num_envs, backend, kwargs)
    if backend == "compiled" and name in gymnasium.registry:
        raise OperantError(f"{name} has no compiled backend: it is a Gymnasium environment")
    if backend == "compiled":
        raise unknown("compiled environment", name, compiled_names())
    if ":" not in name and name not in gymnasium.registry:
        if name in compiled_names():
            raise OperantError(f"{name} has no gymnasium backend: it is a compiled environment")
        raise unknown("environment", name, {*compiled_names(), *gymnasium_names()})
    by_id = functools.partial(gymnasium.make, name)
    construct = functools.partial(_constructed, name.rpartition(":")[2], by_id, kwargs)
    return _several(construct(), construct, num_envs, name)


def _finite(problem: Any, name: str) -> Finite:
    """A finite problem, with its outcomes written out where they were not."""
    return Finite(problem if isinstance(problem, MDP) else problem.stored(), name)


def _compiled(environment: Any, params: Any, name: str, kwargs: dict[str, Any]) -> Compiled:
    params = params if params is not None else getattr(environment, "default_params", None)
    for field in kwargs:
        if field not in _names(params):
            raise unknown(f"parameter of {name}", field, _names(params))
    if kwargs:
        replace = params._replace if hasattr(params, "_replace") else params.replace
        params = replace(**kwargs)
    return Compiled(environment, params, name)


def _names(params: Any) -> list[str]:
    """The fields of a compiled environment's parameters: a dataclass, a NamedTuple, or nothing."""
    if dataclasses.is_dataclass(params):
        return [field.name for field in dataclasses.fields(params)]
    return list(getattr(params, "_fields", ()))
