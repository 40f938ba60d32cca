"""The command line: `operant COMMAND ...`.

Whatever the user can put right is one line on standard error and exit code 2; training that failed is 1; a signal is
128 and its number. What needs JAX is imported once a command needs it, so that help and mistakes are quick.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from operant import __version__
from operant.errors import DivergedError, OperantError, unknown
from operant.kinds import PAIRS, Kind, choice, whole
from operant.parsing import Arguments, Command, Flag, cut, parse

HELP = """\
Operant: reinforcement learning, from exact dynamic programming to deep networks, in one library.

  operant train ALGORITHM ENVIRONMENT   train, evaluate, and leave a run folder with curve and episode
  operant evaluate DIR                  play whole episodes with a trained agent
  operant resume DIR                    continue a run, to its end or to a new total of --steps
  operant watch DIR                     draw an episode anew, DIR/episode.gif
  operant algorithms                    what there is, and its place on the map
  operant environments                  what it can be trained on

For example:

  operant train ppo CartPole-v1
  operant train dqn CartPole-v1 --steps 500000 --learning-rate 2.5e-4 --network.hidden 256,256
  operant train ppo Pendulum-v1 --num-seeds 5 --learning-rate 'linear(1e-3,0)' --out runs/pendulum
  operant resume runs/pendulum --steps 1_000_000
  operant train ppo my_package:MyEnv-v0 --env-kwargs size=5 --json

Every command takes --help; 'operant train ppo --help' lists the fields of ppo with their defaults.
"""
SWITCHES = ("json", "no_gif")
JSON = Flag("json", None, False, "print one JSON object on standard output")
EPISODES = Flag("episodes", whole(1, 1_000_000), 100, "episodes of the evaluation, for each seed")
SEED = whole(0, 2**31 - 1)
STEPS = whole(1, 10**15)
BACKENDS = choice("auto", "compiled", "gymnasium")
NO_GIF = Flag("no_gif", None, False, "leave out episode.gif")
ENVIRONMENT = Flag("environment", Kind("ID", str, lambda value: value or "the run's own"), None,
                   "another environment; needed where the run was on your own")  # fmt: skip
DIRECTORY = (("directory", "the run's folder"),)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (the process's arguments by default) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with _terminations():
            return _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 0
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        # Whoever read has gone; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except OperantError as error:
        failed = isinstance(error, DivergedError) or type(error).__name__ == "TrainingError"
        return _complain(str(error), 1 if failed else 2)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        return _complain(f"unexpected {type(error).__name__}: {error} ({where})", 1)


def _run(argv: list[str]) -> int:
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "resume": _resume,
        "watch": _watch,
        "algorithms": _algorithms,
        "environments": _environments,
    }
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] in ("--version", "-V", "version"):
        print(f"operant {__version__}")
        return 0
    if argv[0] not in commands:
        raise unknown("command", argv[0], commands)
    return commands[argv[0]](argv[1:])


def _train(argv: list[str]) -> int:
    arguments = cut(argv, SWITCHES)
    if not arguments.positionals:
        return _train_without_name(arguments)
    from operant import catalogue
    from operant.flags import assemble, flags_of

    entry = catalogue.find(arguments.positionals.pop(0))
    chosen = {name: values[-1] for name, values in arguments.flags if values}
    default = entry.make()
    flags = (
        Flag("steps", STEPS, entry.steps, "environment steps over all environments, for each seed"),
        Flag("seed", SEED, 0, "the first seed"),
        Flag("num_seeds", whole(1, 10_000), 1, "seeds trained side by side"),
        Flag("num_envs", whole(1, 10**6), entry.num_envs, "parallel environments"),
        Flag("backend", BACKENDS, "auto", "where the environment runs; auto prefers a compiled twin"),
        Flag("env_kwargs", PAIRS, (), "arguments of the environment"),
        Flag("out", Kind("DIR", str, lambda value: value or "a new folder in runs/"), None, "the run's folder"),
        EPISODES,
        NO_GIF,
        JSON,
        *flags_of(default, chosen),
    )
    about = f"{entry.name}: {entry.summary}"
    command = Command(f"train {entry.name}", about, (("environment", "an id, such as CartPole-v1"),), flags)
    values = parse(command, arguments)
    from operant import commands

    return commands.train(assemble(default, chosen, values), values["environment"], values)


def _train_without_name(arguments: Arguments) -> int:
    if not arguments.help:
        raise OperantError("ALGORITHM is missing: operant train ALGORITHM ENVIRONMENT, as in train ppo CartPole-v1")
    print("usage: operant train ALGORITHM ENVIRONMENT [--FIELD VALUE ...]\n")
    print("'operant algorithms' lists the algorithms; 'operant train ppo --help' lists the fields of ppo.")
    return 0


def _evaluate(argv: list[str]) -> int:
    flags = (EPISODES, Flag("seed", SEED, 0, "seed of the episodes"), ENVIRONMENT, JSON)
    command = Command("evaluate", "Play whole episodes with a trained agent.", DIRECTORY, flags)
    values = parse(command, cut(argv, SWITCHES))
    from operant import commands

    return commands.evaluate(values)


def _resume(argv: list[str]) -> int:
    steps = Kind("INT", STEPS.read, lambda value: "the run's own" if value is None else str(value))
    flags = (Flag("steps", steps, None, "the new total"), ENVIRONMENT, EPISODES, NO_GIF, JSON)
    values = parse(Command("resume", "Continue a run.", DIRECTORY, flags), cut(argv, SWITCHES))
    from operant import commands

    return commands.resume(values)


def _watch(argv: list[str]) -> int:
    values = parse(Command("watch", "Draw an episode anew.", DIRECTORY, (ENVIRONMENT,)), cut(argv, SWITCHES))
    from operant import commands

    return commands.watch(values)


def _algorithms(argv: list[str]) -> int:
    from operant import commands

    flags = tuple(Flag(name, None, False, f"those that {about}") for name, (about, _) in commands.FILTERS.items())
    command = Command("algorithms", "List the algorithms, with their place on the map.", (), (*flags, JSON))
    return commands.algorithms(parse(command, cut(argv, (*commands.FILTERS, *SWITCHES))))


def _environments(argv: list[str]) -> int:
    flags = (Flag("backend", BACKENDS, "auto", "only those that run there"), JSON)
    values = parse(Command("environments", "List the environments known by name.", (), flags), cut(argv, SWITCHES))
    from operant import commands

    return commands.environments(values["backend"], values["json"])


@contextlib.contextmanager
def _terminations() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, tidily; while training runs, training answers both itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        _complain("terminated", 0)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(message: str, code: int) -> int:
    print("operant:", " ".join(message.split()), file=sys.stderr, flush=True)
    return code
