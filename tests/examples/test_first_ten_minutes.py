"""The walk through README.md: what it reads, and how it makes it small. `make walkthrough` runs it."""

import importlib.util
from pathlib import Path

from operant.cli import COMMANDS

PATH = Path(__file__).resolve().parents[2] / "examples" / "first_ten_minutes.py"


def walk():
    spec = importlib.util.spec_from_file_location("first_ten_minutes", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_reads_the_quick_start_and_makes_it_small():
    module = walk()
    program, commands = module.quick_start()
    assert {words[1] for words in commands} >= {"train", "evaluate", "resume", "watch", "doctor"} & set(COMMANDS)
    for words in map(module.small, commands):
        if words[1] in ("train", "resume"):
            assert int(words[len(words) - 1 - words[::-1].index("--steps") + 1]) <= 4096
    small = module.small_python(program)
    compile(small, "README.md", "exec")
    assert "200_000" not in small and "500_000" not in small and "steps=4096" in small and "episodes=100" not in small
