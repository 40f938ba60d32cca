"""The first ten minutes: a clean virtual environment, then every command of README.md in its order, on small budgets.

    python examples/first_ten_minutes.py                 # in a temporary folder
    python examples/first_ten_minutes.py --here          # with the Python that runs this, nothing installed

It needs only Python 3.11 or newer. What is run is read from README.md, so that the page cannot promise more.
"""

import re
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEW, MORE = "2048", "4096"  # steps of a training, and of what is resumed


def quick_start() -> tuple[str, list[list[str]]]:
    """The Python and the commands of README.md's quick start."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Quick start")[2].partition("\n## ")[0]
    python, shell = re.findall(r"^```(?:python)?\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[:2]
    return python, [shlex.split(line) for line in shell.splitlines() if line.startswith("operant ")]


def small(words: list[str]) -> list[str]:
    """A command with less to do; the later of two equal flags counts."""
    if words[1] == "train":
        return [*words, "--steps", FEW, "--episodes", "3"]
    if words[1] == "resume":
        return [*words, "--steps", MORE, "--episodes", "3"]
    return [*words, "--episodes", "3"] if words[1] == "evaluate" else words


def small_python(program: str) -> str:
    """The program with fewer steps, after what it takes for granted: an observation and a factory."""
    program = re.sub(r"steps=[\d_]+", f"steps={FEW}", program)
    program = re.sub(r"resume\((.*?)steps=\d+", rf"resume(\1steps={MORE}", program)
    program = re.sub(r"episodes=\d+", "episodes=3", program)
    given = (
        "import gymnasium\nobservation = [0.0] * 4\n\ndef make_my_env():\n    return gymnasium.make('CartPole-v1')\n\n"
    )
    return given + program


def run(command: list[str], folder: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
    print(f"{time.monotonic() - begun:6.1f} s  {' '.join(command[1:])[:100]!r}", flush=True)
    if done.returncode or "Traceback" in done.stderr:
        sys.exit(f"exit code {done.returncode}:\n{done.stdout}\n{done.stderr}")


def main(install: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, python = Path(name), sys.executable
        if install:
            venv.create(folder / "venv", with_pip=True)
            python = str(folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python")
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, str(ROOT), "--constraint", str(ROOT / "constraints.txt")], folder)
        program, commands = quick_start()
        for words in commands:
            run([python, "-m", *small(words)], folder)
        run([python, "-c", small_python(program)], folder)
        for run_folder in (folder / "runs").iterdir():
            assert (run_folder / "run.json").is_file(), run_folder


if __name__ == "__main__":
    main("--here" not in sys.argv[1:])
