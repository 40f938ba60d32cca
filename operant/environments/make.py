"""make(): from what a user calls an environment to one of the two edges, compiled or host."""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
from gymnasium.vector import VectorEnv

from operant.environments.atari import games, is_game
from operant.environments.compiled import Compiled
from operant.environments.finite import Finite, Limit
from operant.environments.host import Host
from operant.environments.several import several
from operant.errors import OperantError, unknown
from operant.finite.mdp import MDP
from operant.finite.named import problem, problem_names
from operant.workers.making import constructed
from operant.workers.masking import MaskObserved, masked_info, observed
from operant.workers.named import first_line

BACKENDS = ("auto", "compiled", "gymnasium")
EnvironmentLike: TypeAlias = str | gymnasium.Env | VectorEnv | Compiled | Callable[..., Any] | Any


@dataclasses.dataclass(frozen=True)
class Factory:
    """A Gymnasium environment that can be made again and again."""

    name: str
    construct: Callable[[], gymnasium.Env]
    first: gymnasium.Env  # made already, to see what the factory makes


def make(
    environment: EnvironmentLike,
    num_envs: int = 1,
    backend: str = "auto",
    kwargs: dict[str, Any] | None = None,
    masks: bool = False,
    training: bool = False,
) -> Compiled | Host:
    """The environment behind `environment`, ready for a driver.

    `environment` is an id (`CartPole-v1`; `my_package:MyEnv-v0` imports the module, and may name a class in it), a
    class or factory of Gymnasium environments, a Gymnasium vector environment, a compiled environment (gymnax's
    methods), a finite MDP, or one Gymnasium instance, which is never copied and so is exactly one environment. Names
    are Gymnasium's, gymnax's, our own (`environments.own`) and those of `finite.problem`. `backend="auto"` prefers a
    compiled twin where an id has one. `kwargs` go to the environment's constructor, or to the parameters of a compiled
    one (`max_steps_in_episode` of a finite MDP). Copies whose steps are slow are stepped in processes of their own
    (`several`). With `masks`, a Gymnasium environment whose info has an `action_mask` observes it (`with_masks`). For
    `training`, an Atari game (`ALE/...`) clips its rewards and ends at every life.

    Raises `OperantError` for an unknown id, an unknown backend, a backend that the environment does not have, or
    `kwargs` for something that is made already.
    """
    if is_game(environment):
        return games(environment, num_envs, backend, kwargs or {}, training)
    found = resolve(environment, backend, kwargs or {})
    found = with_masks(found) if masks else found
    if isinstance(found, Factory):
        return several(found.first, found.construct, num_envs, found.name)
    return _edge(found)


def first_of(
    environment: EnvironmentLike, backend: str, kwargs: dict[str, Any], masks: bool
) -> tuple[Compiled | Host, Callable[[], gymnasium.Env] | None]:
    """As `make` for training, but of what can be made again and again only one; and what makes more, or None."""
    if is_game(environment):
        raise OperantError(f"{environment} is one vector of environments, which actors cannot share: ppo trains on it")
    found = resolve(environment, backend, kwargs)
    found = with_masks(found) if masks else found
    if not isinstance(found, Factory):
        return _edge(found), None
    host = Host([lambda: found.first], found.name)
    host.ours = True
    return host, found.construct


def _edge(found: Any) -> Compiled | Host:
    if isinstance(found, VectorEnv):
        return Host(found, name_of(found))
    return Host([lambda: found], name_of(found)) if isinstance(found, gymnasium.Env) else found


def resolve(
    environment: EnvironmentLike, backend: str, kwargs: dict[str, Any]
) -> Compiled | Host | VectorEnv | gymnasium.Env | Factory:
    """What `environment` is: something made already, or a `Factory` of Gymnasium environments."""
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    if is_game(environment):
        return games(environment, 1, backend, kwargs, False)
    if isinstance(environment, str):
        return _by_name(environment, backend, kwargs)
    if isinstance(environment, tuple) and len(environment) == 2 and _is_compiled(environment[0]):
        raise OperantError("give a gymnax environment alone, without its parameters: env_kwargs change them")
    name = name_of(environment)
    if kwargs and is_made(environment):
        raise OperantError(f"{name} is made already, and takes no env_kwargs: pass its class, a factory or its id")
    if isinstance(environment, Compiled | Host):
        return environment
    if isinstance(environment, MDP) or hasattr(environment, "stored"):
        environment = _finite(environment, name)
    if _is_compiled(environment):
        if backend == "gymnasium":
            raise OperantError(f"{name} has no gymnasium backend: it is a compiled environment")
        return _compiled(environment, None, name, kwargs)
    if isinstance(environment, gymnasium.Env | VectorEnv):
        if backend == "compiled":
            raise OperantError(f"{name} has no compiled backend: it is a Gymnasium environment")
        return environment
    if callable(environment):
        return _by_calling(name, environment, backend, kwargs)
    raise OperantError(f"{environment!r} is not an environment: give an id, a class, a factory or an instance")


def with_masks(found: Any) -> Any:
    """What `resolve` gave, with the `action_mask` of its info as a part of its observations, where it has one.

    Gymnasium environments are reset once to see; vector environments, which are the user's own, stay as they are.
    """
    if isinstance(found, Factory) and masked_info(found.first):
        return Factory(found.name, functools.partial(observed, found.construct), MaskObserved(found.first))
    return MaskObserved(found) if isinstance(found, gymnasium.Env) and masked_info(found) else found


def release(world: Compiled | Host) -> None:
    """Close what `make` made; what the user had made stays open."""
    if isinstance(world, Host) and world.ours:
        world.close()


def is_made(environment: EnvironmentLike) -> bool:
    """Whether there is nothing left to make, so that arguments for making it mean nothing."""
    return isinstance(environment, Compiled | Host | gymnasium.Env | VectorEnv)


def is_external(environment: EnvironmentLike) -> bool:
    """Whether it is the user's own: an object, or an id that imports a module. Runs make none of these."""
    return not isinstance(environment, str) or ":" in environment


def _by_calling(name: str, construct: Callable[..., Any], backend: str, kwargs: dict[str, Any]) -> Any:
    recipe = functools.partial(constructed, name, construct, kwargs)
    made = recipe()
    if isinstance(made, gymnasium.Env) and backend != "compiled":
        return Factory(name, recipe, made)
    if isinstance(made, gymnasium.Env):
        made.close()
    if isinstance(made, gymnasium.Env | VectorEnv) or _is_compiled(made):
        return resolve(made, backend, {})
    raise OperantError(f"{name} made {type(made).__name__}, which is not an environment")


def _is_compiled(environment: Any) -> bool:
    """Whether this is an instance with gymnax's methods, whose spaces are methods too."""
    return not isinstance(environment, type) and callable(getattr(environment, "action_space", None))


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
    return [*_gymnax_names(), *_own(), *problem_names()]


def gymnasium_names() -> list[str]:
    """The ids that Gymnasium knows at present."""
    return sorted(gymnasium.registry)


def _gymnax_names() -> list[str]:
    import gymnax

    return [name for name in gymnax.registered_envs if name != "MNISTBandit-bsuite"]  # it downloads its data


def _own() -> dict[str, Callable[[], Any]]:
    from operant.environments.own import OWN

    return OWN


def _by_name(name: str, backend: str, kwargs: dict[str, Any]) -> Any:
    if name in problem_names() and (backend == "compiled" or (backend == "auto" and "render_mode" not in kwargs)):
        limit = {field: value for field, value in kwargs.items() if field in Limit._fields}
        rest = {field: value for field, value in kwargs.items() if field not in limit}
        return _compiled(_finite(problem(name, **rest), name), None, name, limit)
    if backend != "gymnasium" and ":" not in name and name in _gymnax_names():
        import gymnax

        environment, params = gymnax.make(name)
        if set(kwargs) <= set(_names(params)) or backend == "compiled":
            return _compiled(environment, params, name, kwargs)
    if backend != "gymnasium" and ":" not in name and name in _own():
        return _compiled(_own()[name](), None, name, kwargs)
    if backend != "gymnasium" and name not in gymnasium.registry and Path(name).is_file():
        return resolve(problem(name), backend, kwargs)
    if backend == "compiled" and name in gymnasium.registry:
        raise OperantError(f"{name} has no compiled backend: it is a Gymnasium environment")
    if backend == "compiled":
        raise unknown("compiled environment", name, compiled_names())
    if ":" not in name and name not in gymnasium.registry:
        if name in compiled_names():
            raise OperantError(f"{name} has no gymnasium backend: it is a compiled environment")
        raise unknown("environment", name, {*compiled_names(), *gymnasium_names()})
    if own := _class_in_module(name):
        return resolve(own, backend, kwargs)
    plain = name.rpartition(":")[2]
    first = constructed(plain, functools.partial(gymnasium.make, name), kwargs)
    # Another process need not know the id, but how it was registered.
    known = gymnasium.registry.get(getattr(first.spec, "id", plain), name)
    return Factory(name, functools.partial(constructed, plain, functools.partial(gymnasium.make, known), kwargs), first)


def _class_in_module(name: str) -> type | None:
    """The Gymnasium class that `module:Class` names, where it is no registered id; the module is imported.

    Classes of environments only: a run's description may hold such a name, and must not be able to call anything.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute.isidentifier():
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        raise OperantError(f"{attribute} could not be made: {type(error).__name__}: {first_line(error)}") from error
    return found if isinstance(found, type) and issubclass(found, gymnasium.Env) else None


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
