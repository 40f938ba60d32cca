"""Several copies of one host environment: in this process or, where their steps are slow, in processes of their own."""

from collections.abc import Callable

import gymnasium

from operant.environments.host import Host
from operant.errors import OperantError
from operant.workers.making import cores, step_seconds
from operant.workers.named import first_line
from operant.workers.processes import Processes

# What processes must save at each step of all environments; pipes and waking up cost about a tenth of it.
WORTHWHILE = 1e-3  # seconds


def several(first: gymnasium.Env, construct: Callable[[], gymnasium.Env], num_envs: int, name: str) -> Host:
    """`num_envs` environments, of which the first was already made; `Host.placing` says what was chosen.

    One copy is measured over a few steps and thrown away, so that nothing it remembers of them reaches training. The
    choice changes the speed and nothing else. Raises `OperantError` where the environments cannot be made.
    """
    processes = min(num_envs, cores())
    if processes < 2:
        return _here(first, construct, num_envs, name)
    seconds = step_seconds(first)
    first.close()
    saved = 0.0 if seconds is None else (num_envs - -(-num_envs // processes)) * seconds
    if saved < WORTHWHILE:
        return _here(construct(), construct, num_envs, name)
    slow = f"a step takes {1000 * (seconds or 0.0):.2g} ms"
    try:
        host = Host(Processes(construct, num_envs, processes), name)
    except OperantError as error:
        host = _here(construct(), construct, num_envs, name)
        host.placing = f" in this process, though {slow}: {first_line(error)}"
    else:
        host.placing, host.ours = f" in {processes} processes ({slow})", True
    return host


def _here(first: gymnasium.Env, construct: Callable[[], gymnasium.Env], num_envs: int, name: str) -> Host:
    made = [first]
    try:
        while len(made) < num_envs:
            made.append(construct())
            if any(made[-1] is one for one in made[:-1]):
                raise OperantError(f"{name} gave the same environment twice: a factory makes a new one at each call")
            if _spaces(made[-1]) != _spaces(first):
                raise OperantError(f"copies of {name} have unequal spaces: {_spaces(first)} and {_spaces(made[-1])}")
        host = Host([lambda one=one: one for one in made], name)
        host.ours = True
        return host
    except Exception:
        for one in made:
            one.close()
        raise


def _spaces(environment: gymnasium.Env) -> tuple[gymnasium.Space, gymnasium.Space]:
    return environment.observation_space, environment.action_space
