"""The repository itself: what may not be in it, and that its front page tells the truth."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {".git", ".venv", ".peers", "__pycache__", "build", "dist", "runs"}

# Written in pieces, so that this file does not contain what it forbids.
PLACES = [r"index-url", r"find-links", "pypi" + r"\.org", "pythonhosted", "artifactory", r"simple/[a-z0-9-]+/?$"]
MACHINE_PATHS = [r"(?<![\w.~}*)-])/" + folder + r"/\w" for folder in ("home", "work", "root", "Users", "opt", "tmp")]


def files() -> list[Path]:
    """What git tracks or would track; a walk where there is no git, as in an unpacked archive."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        found = [ROOT / line for line in listed]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    return [path for path in found if path.is_file()]


def texts() -> list[tuple[Path, str]]:
    readable = []
    for path in files():
        try:
            readable.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # a picture
    return readable


def offences(patterns: list[str], sources: list[tuple[Path, str]]) -> list[str]:
    forbidden = re.compile("|".join(patterns), re.MULTILINE)
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in sources
        for number, line in enumerate(text.splitlines(), 1)
        if forbidden.search(line)
    ]


def test_no_file_names_a_registry_host_or_a_machine_path():
    found = offences(PLACES + MACHINE_PATHS, [(p, t) for p, t in texts() if p != Path("tests/test_repository.py")])
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "--extra-" + "index-url https://example.com",
        "https://" + "pypi" + ".org/simple/jax",
        'open("' + "/home" + '/ann/x")',
        "/work" + "/main",
    ],
)
def test_the_check_above_sees_what_it_forbids(line):
    assert offences(PLACES + MACHINE_PATHS, [(Path("x.py"), line)])


def imported(path: Path) -> set[str]:
    """The top-level names of every module that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_nothing_unpickles():
    unpicklers = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    found = [(str(path), imported(path) & unpicklers) for path in files() if path.suffix == ".py"]
    assert len(found) > 10
    assert not [entry for entry in found if entry[1]]


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(re.findall(r"```.*?```|`[^`\n]+`", readme, re.DOTALL))))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets, f"no such target: {named - targets}"
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", readme)
    assert linked
    assert not [link for link in linked if not (ROOT / link).exists()]


def test_every_package_folder_has_an_init():
    folders = {path.parent for path in files() if path.suffix == ".py" and (ROOT / "operant") in path.parents}
    assert ROOT / "operant" in folders
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_algorithm_files_are_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in files()
        if path.suffix == ".py" and (ROOT / "operant" / "algorithms") in path.parents
    }
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > 200}


def test_constraints_satisfy_the_declared_dependencies():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in map(Requirement, declared):
        assert requirement.name.lower() in pinned, f"{requirement.name} is not pinned"
        assert pinned[requirement.name.lower()] in requirement.specifier, requirement.name
    assert pinned["torch"] == "2.13.0"


def test_import_is_quick_and_loads_neither_jax_nor_torch():
    program = (
        "import sys, time; start = time.process_time(); import operant; seconds = time.process_time() - start;"
        "print(seconds, sorted({'jax', 'torch', 'numpy', 'gymnasium'} & set(sys.modules)), 'train' in dir(operant))"
    )
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seconds, rest = out.strip().split(" ", 1)
    assert rest == "[] True"
    assert float(seconds) < 0.25  # a few milliseconds; JAX alone takes longer than this


def test_every_lazy_name_resolves():
    import operant

    assert [name for name in dir(operant) if getattr(operant, name) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = operant.trian
