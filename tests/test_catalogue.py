"""The catalogue, and algorithms that installed packages register."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import operant
from operant import catalogue
from operant.arguments import make_algorithm
from operant.contracts import Spec
from operant.errors import OperantError
from operant.parts.describe import build, fields_of

MODULE = '''
import operant
from operant.algorithms.policy.random import Random, State

@operant.component
class Uniform:
    """Acts at random."""

    catalogue = {"learns": "nothing", "data": "none", "steps": 64, "num_envs": 2}
    weight: float = 1.0

    check, window, init, start, act, learn = (
        getattr(Random, name) for name in ("check", "window", "init", "start", "act", "learn")
    )

@operant.component
class Needy:
    weight: float
    check = window = init = start = act = learn = lambda self: None

class Plain: ...
'''
ENTRIES = """
[operant.algorithms]
theirs = installed_theirs:Uniform
dqn = installed_theirs:Uniform
bad name = installed_theirs:Uniform
absent = installed_theirs:Missing
broken = installed_broken:Anything
plain = installed_theirs:Plain
needy = installed_theirs:Needy
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution as an installer leaves it: a module, and its metadata."""
    site = tmp_path / "site"
    metadata = site / "theirs-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "installed_theirs.py").write_text(MODULE)
    (site / "installed_broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    catalogue._say.cache_clear()
    yield site
    for name in ("installed_theirs", "installed_broken"):
        sys.modules.pop(name, None)


def test_names_are_read_without_importing(installed, capsys):
    assert {"theirs", "absent", "broken", "plain", "dqn"} <= set(
        catalogue.names()
    ) and "bad name" not in catalogue.names()
    assert catalogue.entry_of(operant.PPO()).name == "ppo" and catalogue.find("DQN").make is operant.DQN
    assert "installed_theirs" not in sys.modules
    err = capsys.readouterr().err  # each said once
    assert err.count("\n") == 2 and "'dqn' is another's" in err and "'bad name' is no name" in err


def test_a_composition_is_an_entry_with_fields_of_its_own():
    rainbow = catalogue.find("rainbow")
    assert rainbow.make is operant.C51 and catalogue.entry_of(rainbow.default()).name == "c51"
    made = make_algorithm("rainbow", {"v_max": 10.0})
    assert made == dataclasses.replace(rainbow.default(), v_max=10.0)
    assert made.n_step == 3 and type(made.replay).__name__ == "Prioritised" and made != operant.C51(v_max=10.0)
    told = json.loads(json.dumps(fields_of(made)))  # as a run.json has it
    assert build(rainbow.make, told, "run.json") == made


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "cannot be imported (AttributeError"),
        ("broken", "cannot be imported (RuntimeError: two lines)"),
        ("plain", "is no class made with operant.component"),
        ("needy", "needs a default for its weight"),
        ("their", "did you mean 'theirs'"),
    ],
)
def test_what_cannot_be_used_is_one_line(installed, name, words):
    with pytest.raises(OperantError) as error:
        operant.train(name, "CartPole-v1")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_registered_algorithm_has_its_place(installed):
    entry = catalogue.find("Theirs")
    assert (entry.learns, entry.steps, entry.num_envs, entry.actions) == ("nothing", 64, 2, "")
    assert entry.summary == "Acts at random." and catalogue.entry_of(entry.make(2.0)) == entry
    entry.make.catalogue["steps"] = "many"
    with pytest.raises(OperantError, match="cannot be steps='many'"):
        catalogue.find("theirs")


def test_it_trains_loads_and_resumes_by_its_name(installed):
    agent = operant.train("theirs", "CartPole-v1", weight=3.0, out="run", progress="none", log=())
    assert json.loads(Path("run/run.json").read_text(encoding="utf-8"))["algorithm"] == "theirs"
    assert operant.load("run").algorithm == agent.algorithm and agent.algorithm.weight == 3.0
    resumed = operant.resume("run", steps=128, progress="none")
    np.testing.assert_array_equal(resumed.policy, agent.policy)


def test_the_command_line_knows_it(installed):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(installed), *sys.path)), "COLUMNS": "200"}
    program = (
        "import json; from operant.cli import main\n"
        "assert main(['train', 'theirs', '--help']) == 0\n"
        "assert main(['train', 'theirs', 'CartPole-v1', '--weight', '2', '--out', 'run', '--no-gif']) == 0\n"
        "assert json.load(open('run/run.json'))['fields'] == {'weight': 2.0}\n"
        "assert main(['train', 'broken', 'CartPole-v1']) == 2\n"
        "assert main(['algorithms', '--json']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "theirs: Acts at random." in done.stdout and "--weight" in done.stdout
    rows = {row["name"]: row for row in json.loads(done.stdout[done.stdout.index('{"algorithms"') :])["algorithms"]}
    assert rows["theirs"]["learns"] == "nothing" and "dqn" in rows and not {"broken", "plain"} & set(rows)
    assert "algorithm 'broken', registered as installed_broken:Anything: cannot be imported" in done.stderr


WORLDS = [
    Spec(space, actions, 8, time_limit=8)
    for space in (Discrete(6), Box(-1, 1, (3,)))
    for actions in (Discrete(3), Box(-1, 1, (2,)))
] + [Spec(Discrete(1), Discrete(3), 8, time_limit=1)]


@pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=lambda entry: entry.name)
def test_every_state_is_strongly_typed(entry):
    """What is weak in a first state is not in the next one, and drivers compile their programs again for it."""
    algorithm, served = entry.make(**entry.composed), 0
    for spec in WORLDS:
        try:
            algorithm.check(spec)
        except OperantError:
            continue
        served += 1
        state = jax.eval_shape(lambda key, spec=spec: algorithm.init(key, spec), jax.random.key(0))
        weak = [
            jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(state) if leaf.weak_type
        ]
        assert not weak
    assert served
