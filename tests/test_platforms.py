"""What must hold on every platform, read off the source: encodings, signals, processes, versions."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("operant", "benchmarks", "examples")
# Signals that Windows lacks.
FOREIGN = {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGQUIT", "SIGTSTP", "SIGCHLD"}
# What Windows lacks otherwise.
ABSENT = {"fork", "geteuid", "getuid", "setsid", "killpg", "mkfifo", "sync", "uname"}


def sources() -> list[tuple[str, ast.Module]]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if ".peers" not in path.parts]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def _names(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def without_encoding(tree: ast.Module) -> list[int]:
    """The lines that read or write text in whatever encoding the system happens to have."""
    lines = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        name, plain = _names(call), [a.value for a in call.args if isinstance(a, ast.Constant)]
        module = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id
        text = (
            name in ("read_text", "write_text")
            or (name == "fdopen" or (name == "open" and isinstance(call.func, ast.Name)))
            or (module == "subprocess" and ("text" in named or "universal_newlines" in named))
        )
        binary = any(isinstance(value, str) and re.fullmatch("[rwax]b[+]?", value) for value in plain)
        if text and not binary and "encoding" not in named:
            lines.append(call.lineno)
    return lines


def test_text_is_utf8_everywhere():
    found = {path: lines for path, tree in sources() if (lines := without_encoding(tree))}
    assert len(sources()) > 60 and not found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open(path)", True),
        ("open(path, 'a')", True),
        ("path.read_text()", True),
        ("subprocess.run(command, text=True)", True),
        ("open(path, 'rb')", False),
        ("open(path, encoding='utf-8')", False),
        ("path.write_text(text, encoding='utf-8')", False),
        ("RunFolder.open(path)", False),
    ],
)
def test_the_check_above_sees_what_it_forbids(line, found):
    assert bool(without_encoding(ast.parse(line))) is found


def test_nothing_names_a_signal_or_a_call_that_windows_lacks():
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, name = node.value.id, node.attr
                if (owner == "signal" and name in FOREIGN) or (owner == "os" and name in ABSENT):
                    found.append(f"{path}:{node.lineno}: {owner}.{name}")
    assert not found


def test_nothing_is_forked():
    """JAX has threads, and a forked process inherits their locks but not the threads."""
    found = []
    for path, tree in sources():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            chosen = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "context")]
            spawned = any(isinstance(value, ast.Constant) and value.value == "spawn" for value in chosen)
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            default = isinstance(owner, ast.Name) and owner.id in ("multiprocessing", "mp")
            wants_context = _names(call) in ("get_context", "set_start_method", "AsyncVectorEnv") and not spawned
            if wants_context or (default and _names(call) in ("Process", "Pool")):
                found.append(f"{path}:{call.lineno}")
    assert not found


def test_a_preinstalled_jax_is_kept():
    """Colab's JAX is built for its GPU: an upper bound, or a pin, would replace it by one for the processor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = {need.name: need for need in map(Requirement, project["dependencies"])}
    for name in ("jax", "numpy", "scipy", "matplotlib", "pillow", "optax", "gymnasium"):
        assert {clause.operator for clause in needs[name].specifier} == {">="}, name
    for version in ("0.7.0", "0.7.2", "0.9.1", "1.4"):
        assert needs["jax"].specifier.contains(version)
    assert not needs["jax"].extras and "jaxlib" not in needs  # an extra or a plugin would choose the device
    (cuda,) = map(Requirement, project["optional-dependencies"]["cuda"])
    assert cuda.specifier == needs["jax"].specifier
    assert Version("3.11") in Requirement(f"python{project['requires-python']}").specifier
