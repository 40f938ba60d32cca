"""The two front pages: the same headings, the same commands, the same links, and commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from operant import catalogue
from operant.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md")}


def outside_code(page: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return re.findall(r"^ *```.*?^ *```$", page, re.MULTILINE | re.DOTALL)


def skeleton(page: str) -> list[str]:
    """The levels of the headings, the rows of tables and the first-level items, in their order."""
    return re.findall(r"^(#+|\||-)(?= |$)", outside_code(page), re.MULTILINE)


def test_both_pages_say_the_same():
    english, korean = PAGES.values()
    assert len(blocks(english)) >= 5 and blocks(english) == blocks(korean)
    assert skeleton(english) == skeleton(korean)
    inline = {name: sorted(set(re.findall(r"`[^`\n]+`", outside_code(page)))) for name, page in PAGES.items()}
    assert inline["README.md"] == inline["README.ko.md"]
    links = {name: sorted(set(re.findall(r"\]\(([^)]+)\)", page)) - set(PAGES)) for name, page in PAGES.items()}
    assert links["README.md"] == links["README.ko.md"]
    assert all((ROOT / link).exists() for link in links["README.ko.md"])
    assert len(re.findall(r"[가-힣]", korean)) > 1000


@pytest.mark.parametrize("line", [line for block in blocks(PAGES["README.md"]) for line in block.splitlines()])
def test_commands_exist(line):
    words = shlex.split(line, comments=True) if line.startswith("operant ") else []
    if words:
        assert words[1] in COMMANDS
        assert words[1] != "train" or words[2] in catalogue.names()


def test_the_map_names_what_is_there():
    """What the map says is here today is in the catalogue."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+)\|", PAGES["README.md"], re.MULTILINE)
    here = " ".join(cell for _, cell in rows).lower()
    for name in ("dqn", "ppo", "reinforce", "q-learning", "expected-sarsa", "dyna-q", "prioritised-sweeping"):
        assert name in catalogue.names() and name.replace("-", " ") in here.replace("-", " ")
