"""The command line: `operant COMMAND ...`.

Whatever the user can put right is one line on standard error and exit code 2; training that failed is 1; a signal is
128 and its number. What needs JAX is imported once a command needs it, so that help and mistakes are quick.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from operant import __version__
from operant.errors import DivergedError, OperantError, unknown

HELP = """\
Operant: reinforcement learning, from exact dynamic programming to deep networks, in one library.

  operant train ALGORITHM ENVIRONMENT   train, evaluate, and leave a run folder with curve and episode
  operant evaluate DIR                  play whole episodes with a trained agent
  operant resume DIR                    continue a run, to its end or to a new total of --steps
  operant watch DIR                     draw an episode anew, DIR/episode.gif
  operant export-dataset DIR            keep transitions of a trained agent, to learn from with --dataset
  operant algorithms                    what there is, and its place on the map
  operant environments                  what it can be trained on
  operant check ENVIRONMENT             what is wrong with an environment, and how to mend it
  operant solve ENVIRONMENT             solve a finite problem exactly, with a certificate
  operant compare ENVIRONMENT           planning with the model against learning without it
  operant doctor                        what is installed, and what stands in the way

For example:

  operant train ppo CartPole-v1
  operant train dqn CartPole-v1 --steps 500000 --learning-rate 2.5e-4 --network.hidden 256,256
  operant train ppo Pendulum-v1 --num-seeds 5 --learning-rate 'linear(1e-3,0)' --out runs/pendulum
  operant resume runs/pendulum --steps 1_000_000
  operant solve FrozenLake-v1 --method policy-iteration --discount 0.99
  operant train ppo my_package:MyEnv-v0 --env-kwargs size=5 --json

Every command takes --help; 'operant train ppo --help' lists the fields of ppo with their defaults.
"""
COMMANDS = (
    "train",
    "evaluate",
    "resume",
    "watch",
    "export-dataset",
    "algorithms",
    "environments",
    "check",
    "solve",
    "compare",
    "doctor",
)  # each a file of `commands`


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
    gc.set_threshold(50_000, 20, 50)  # tracing a program makes millions of objects, hardly one of them garbage
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] in ("--version", "-V", "version"):
        print(f"operant {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS, _pointer(argv[0]))
    return import_module(f"operant.commands.{argv[0].replace('-', '_')}").main(argv[1:])


def _pointer(word: str) -> str | None:
    """Our command for another library's."""
    from operant import synonyms

    return f"did you mean {synonyms.COMMANDS[word]!r}?" if word in synonyms.COMMANDS else None


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
