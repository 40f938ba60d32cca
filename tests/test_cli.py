"""The command line, from arguments to exit codes: what is printed where, what is written, what a mistake costs."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import operant
from operant import cli
from operant.cli import main
from operant.commands import algorithms, examination
from operant.commands import train as train_command
from operant.running import announced

TINY = ("--num-envs", "2", "--num-steps", "16", "--num-minibatches", "2", "--network.hidden", "4")
PPO = ("train", "ppo", "CartPole-v1", *TINY, "--steps", "96", "--episodes", "3")
ENTRY = "import sys; from operant.cli import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test in a folder of its own, where `runs/` would appear."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a tiny finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*PPO, "--out", str(folder), "--no-gif"]) == 0
    return folder


def said(capsys, *argv):
    """`(exit code, standard output, standard error)` of a command."""
    capsys.readouterr()
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def written():
    return sorted(str(path) for path in Path().rglob("*"))


@pytest.mark.parametrize(("steps", "dataset", "vain"), [(200, None, True), (300, None, False), (200, True, False)])
def test_a_run_that_ends_before_its_first_update_says_so(steps, dataset, vain):
    about = {"algorithm": "dqn", "environment": "CartPole-v1", "steps": steps, "seeds": [0], "grid": {}}
    about |= {"backend": "compiled", "num_envs": 2, "dataset": dataset and {"rows": 9, "source": "data"}}
    driver = SimpleNamespace(members=[operant.DQN(warmup=200)], environment=None, steps_per_iteration=20)
    told = announced(about, steps, driver)
    assert told.endswith("; nothing is learned, for warmup is 200 steps") == vain and ("warmup" in told) == vain


def test_train_leaves_a_run_and_prints_one_object(capsys):
    code, out, err = said(capsys, *PPO, "--steps", "100", "--seed", "5", "--json")
    assert code == 0 and out.count("\n") == 1
    told = json.loads(out)
    assert (told["algorithm"], told["environment"], told["steps"], told["seeds"]) == ("ppo", "CartPole-v1", 128, [5])
    assert told["seconds"] >= 0 and told["compile_seconds"] > 0 and told["steps_per_second"] > 0
    assert set(told["evaluation"]) == {"episodes", "mean", "iqm", "low", "high"}
    assert told["evaluation"]["episodes"] == 3 and told["evaluation"]["low"] <= told["evaluation"]["high"]
    assert "compiled backend" in err and "128 steps (100 rounded up to whole windows of 32)" in err
    folder = Path(told["out"])
    assert folder.parent == Path("runs") and f"operant resume {folder} --steps 256" in err
    assert json.loads((folder / "run.json").read_text())["evaluation"] == told["evaluation"]
    for name in ("curve.png", "episode.gif"):
        with Image.open(folder / name) as picture:
            assert picture.width >= 300

    code, out, err = said(capsys, "evaluate", folder, "--episodes", "3", "--json")
    assert code == 0 and json.loads(out)["evaluation"] == told["evaluation"]

    (folder / "episode.gif").unlink()
    code, out, err = said(capsys, "watch", folder)
    assert code == 0 and Path(out.strip()).read_bytes()[:3] == b"GIF"


def test_resume_goes_on_to_a_new_total(capsys):
    assert main([*PPO, "--out", "run", "--no-gif"]) == 0
    code, out, err = said(capsys, "resume", "run", "--steps", "192", "--episodes", "3", "--no-gif", "--json")
    assert code == 0 and "resuming run at 96 steps: 96 -> 192" in err
    assert json.loads(out)["steps"] == 192
    code, out, err = said(capsys, "resume", "run", "--steps", "10")
    assert code == 2 and "already trained 192 steps" in err and not out
    with open("run/metrics.jsonl") as file:
        assert [json.loads(line)["steps"] for line in file] == [32, 64, 96, 128, 160, 192]


def test_several_seeds_are_told_apart_and_together(capsys):
    code, out, err = said(capsys, *PPO, "--num-seeds", "3", "--out", "run", "--json", "--no-gif")
    told = json.loads(out)
    assert code == 0 and told["seeds"] == [0, 1, 2] and not Path("run/episode.gif").exists()
    per_seed = told["evaluation"]["per_seed"]
    assert len(per_seed) == 3 and told["evaluation"]["episodes"] == 9
    assert told["evaluation"]["mean"] == pytest.approx(np.mean(per_seed))
    assert min(per_seed) <= told["evaluation"]["low"] <= told["evaluation"]["high"] <= max(per_seed)
    assert all(f"seed {seed}" in err for seed in range(3)) and "over 3 seeds" in err


def test_fields_reach_the_run(trained):
    fields = json.loads((trained / "run.json").read_text())["fields"]
    assert fields["num_steps"] == 16 and fields["network"]["hidden"] == [4]


def test_the_gymnasium_backend(capsys):
    code, out, err = said(capsys, *PPO, "--backend", "gymnasium", "--out", "run", "--json", "--no-gif")
    assert code == 0 and "gymnasium backend" in err and json.loads(out)["evaluation"]["episodes"] >= 3


BAD = [
    ("trian", "did you mean 'train'?"),
    ("train", "ALGORITHM is missing"),
    ("train pppo CartPole-v1", "unknown algorithm 'pppo': did you mean 'ppo'?"),
    ("train ppo", "ENVIRONMENT is missing"),
    ("train ppo CartPole-v9", "did you mean 'CartPole-v1'?"),
    ("train ppo nowhere_module:Foo-v0", "could not be made"),
    ("train ppo CartPole-v1 extra", "'extra' is one argument too many"),
    ("train ppo CartPole-v1 --gamma 0.9", "Operant calls it --discount"),
    ("train ppo CartPole-v1 --total-timesteps 9", "Operant calls it --steps"),
    ("train ppo CartPole-v1 --learning-rate fast", "--learning-rate must be"),
    ("train ppo CartPole-v1 --steps 0", "--steps must be"),
    ("train ppo CartPole-v1 --steps -5", "--steps must be"),
    ("train ppo CartPole-v1 --steps", "--steps needs a value"),
    ("train ppo CartPole-v1 --json=yes", "--json takes no value"),
    ("train ppo CartPole-v1 --num-envs 0", "--num-envs must be"),
    ("train ppo CartPole-v1 --seed 4294967296", "--seed must be"),
    ("train ppo CartPole-v1 --num-minibatches 7", "equal minibatches"),
    ("train ppo CartPole-v1 --num-steps 0", "num_steps must be at least 1"),
    ("train ppo CartPole-v1 --network.activation foo", "unknown activation 'foo'"),
    ("train reinforce CartPole-v1 --network.activation foo", "unknown activation 'foo'"),
    ("train ppo CartPole-v1 --env-kwargs size=9", "size"),
    ("train dqn Pendulum-v1", "needs Discrete actions"),
    ("train ppo CartPole-v1 --preset best", "--preset must be one of"),
    ("train ppo CartPole-v1 --config nowhere.yaml", "nowhere.yaml: cannot be read"),
    ("train ppo CartPole-v1 --evaluate-every -1", "--evaluate-every must be"),
    ("train ppo CartPole-v1 --stop-at high", "--stop-at must be"),
    ("train ppo CartPole-v1 --log tensorbord", "did you mean 'tensorboard'"),
    ("train ppo CartPole-v1 --out full", "full is not empty"),
    ("train ppo CartPole-v1 --out full/file/run", "cannot make a run folder"),
    ("evaluate nowhere", "no such folder"),
    ("evaluate full", "is not a run"),
    ("resume full", "is not a run"),
    ("watch full", "is not a run"),
    ("evaluate full --episodes 0", "--episodes must be"),
    ("algorithms --on-polcy", "did you mean --on-policy?"),
    ("environments --backend cuda", "--backend must be one of"),
]


@pytest.mark.parametrize(("line", "told"), BAD, ids=[line for line, _ in BAD])
def test_a_mistake_is_one_line_and_writes_nothing(line, told, capsys):
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    before = written()
    code, out, err = said(capsys, *line.split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("operant: ") and told in err
    assert written() == before


@pytest.mark.parametrize("damage", ["truncated", "unknown field", "no backend", "hostile algorithm", "policy"])
@pytest.mark.parametrize("command", ["evaluate", "resume", "watch"])
def test_a_damaged_run_is_one_line(damage, command, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    description = run / "run.json"
    told = json.loads(description.read_text())
    if damage == "truncated":
        description.write_bytes(description.read_bytes()[:-40])
    elif damage == "policy":
        for folder in ("policies", "checkpoints"):
            for path in (run / folder).rglob("*.safetensors"):
                path.write_bytes(path.read_bytes()[:-1])
    else:
        changed = {
            "unknown field": {"fields": {**told["fields"], "surprise": 1}},
            "no backend": {"backend": None},
            "hostile algorithm": {"algorithm": "__import__('os').abort()"},
        }
        description.write_text(json.dumps(told | changed[damage]))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, out, err = said(capsys, command, run)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert str(run) in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_divergence_is_exit_code_1(capsys):
    argv = (*PPO, "--learning-rate", "1e38", "--max-gradient-norm", "1e38", "--out", "run")
    code, out, err = said(capsys, *argv)
    assert code == 1 and not out and "diverged" in err.splitlines()[-1]
    assert main(["evaluate", "run", "--episodes", "2"]) == 0  # the last good one


def test_an_environment_that_fails_is_exit_code_1(capsys, tmp_path, monkeypatch):
    (tmp_path / "frail_world.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Frail(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        self.count = getattr(self, 'count', 0) + 1\n"
        "        if self.count == 40:\n"
        "            raise RuntimeError('the motor\\nis on fire')\n"
        "        return super().step(action)\n"
        "gymnasium.register('Frail-v0', Frail, max_episode_steps=50)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    argv = ["train", "ppo", "frail_world:Frail-v0", *PPO[3:], "--out", "run"]
    code, out, err = said(capsys, *argv)
    assert code == 1 and not out and "Traceback" not in err
    assert "RuntimeError: the motor" in err.splitlines()[-1] and "environment 0" in err.splitlines()[-1]
    assert sorted(path.name for path in Path("run/checkpoints").iterdir())[-1].endswith("64")  # two windows were whole


def test_what_nobody_foresaw_is_still_one_line(capsys, monkeypatch):
    def broken(values):
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr(algorithms, "main", broken)
    code, _, err = said(capsys, "algorithms")
    assert code == 1 and err.startswith("operant: unexpected ZeroDivisionError: of all things (test_cli.py:")


def test_algorithms_can_be_filtered(capsys):
    code, out, err = said(capsys, "algorithms", "--off-policy", "--json")
    assert code == 0 and "dqn" in [row["name"] for row in json.loads(out)["algorithms"]]
    assert "ppo" not in out and not err
    code, out, err = said(capsys, "algorithms", "--on-policy", "--policy")
    assert code == 0 and not out and "ppo" in err and "reinforce" in err and "dqn" not in err


@pytest.mark.parametrize(("columns", "placed"), [("80", False), ("200", True)])
def test_algorithms_keep_their_names_on_narrow_terminals(capsys, monkeypatch, columns, placed):
    monkeypatch.setenv("COLUMNS", columns)
    _, _, err = said(capsys, "algorithms")
    listed = {line.split(" ")[0] for line in err.splitlines()}
    assert listed >= {"semi-gradient-sarsa", "semi-gradient-td", "off-policy-mc", "prioritised-sweeping"}
    assert ("learns" in err.splitlines()[0]) == placed


def test_environments_name_their_backends(capsys):
    code, out, err = said(capsys, "environments", "--json")
    known = json.loads(out)["environments"]
    assert code == 0 and known["CartPole-v1"] == ["compiled", "gymnasium"] and known["Breakout-MinAtar"] == ["compiled"]
    code, out, err = said(capsys, "environments", "--backend", "gymnasium")
    assert code == 0 and not out and "Taxi-v" in err and "MinAtar" not in err


@pytest.mark.parametrize("name", ["ppo", "dqn", "reinforce"])
def test_help_lists_every_field_with_its_default(name, capsys):
    from operant import catalogue
    from operant.flags import flags_of

    code, out, err = said(capsys, "train", name, "--help")
    assert code == 0 and not err
    flags = flags_of(catalogue.find(name).make())
    assert all(f"{flag} " in out for flag in flags)
    assert all(f"--{word} " in out for word in ("steps", "seed", "num-seeds", "num-envs", "backend", "out", "json"))
    assert out.count("default:") >= len(flags) + 8
    unwrapped = "".join(out.replace("│", "").split())
    for flag in flags:
        assert f"(default:{flag.kind.show(flag.default)})" in unwrapped


def test_other_help(capsys):
    for argv in (["--help"], ["train", "--help"], ["evaluate", "-h"], ["resume", "--help"], ["algorithms", "--help"]):
        code, out, err = said(capsys, *argv)
        assert code == 0 and "operant" in out and not err
    assert said(capsys, "--version")[:2] == (0, f"operant {operant.__version__}\n")


def test_cheap_answers_do_not_import_jax():
    program = (
        "import sys; from operant.cli import main\n"
        "codes = [main(argv.split()) for argv in ('--help', '--version', 'trian', 'train', 'evaluate', 'watch a b')]\n"
        "assert codes == [0, 0, 2, 2, 2, 2], codes\n"
        "assert not {'jax', 'numpy', 'gymnasium'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ())
    assert done.returncode == 0, done.stderr


def test_utf8_whatever_the_console():
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "train", "ppö"], capture_output=True, env=environ(PYTHONIOENCODING="ascii")
    )
    assert done.returncode == 2 and "unknown algorithm 'ppö'" in done.stderr.decode("utf-8")


def environ(**more):
    root = str(Path(cli.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, **more}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_tells_how_to_go_on(number, code, capsys):
    argv = (*PPO, "--steps", "500_000_000", "--out", "run")
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *argv], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environ(), text=True
    )
    try:
        end = time.monotonic() + 120
        while not Path("run/checkpoints").is_dir() or not any(Path("run/checkpoints").iterdir()):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1.0)  # into the first chunks
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code and not out and "Traceback" not in err
    assert "continue with: operant resume run" in err
    steps = int(sorted(path.name for path in Path("run/checkpoints").iterdir())[-1])
    assert steps > 0
    argv = ("resume", "run", "--steps", steps + 64, "--episodes", "2", "--no-gif", "--json")
    resumed, out, err = said(capsys, *argv)
    assert resumed == 0 and json.loads(out)["steps"] == steps + 64
    assert f"resuming run at {steps:,} steps: 500,000,000 -> {steps + 64:,}" in err


def test_random_arguments_never_end_in_a_traceback(capsys, monkeypatch, trained):
    """Over all commands, mostly mistakes; what happens to be right trains for one window, the first time."""
    rng = random.Random(20)
    starts = [[command] for command in cli.COMMANDS]
    starts += [["train", "ppo", "CartPole-v1"], ["train", "dqn"], ["solve", "FrozenLake-v1"], ["evaluate", trained], []]
    words = [
        *cli.COMMANDS, "ppo", "dqn", "CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Fr\u00f6zen", "a:b",
        "--json", "-h", "--", "-", "=", "", "--steps", "0", "-1", "1e9999", "nan", "None", "--out",
        "--seed=-1", "--network", "gru", "--network.hidden", "64,,x", "none", "--learning-rate", "linear(1",
        "linear(1,0,over=0)", "--env-kwargs", "a=b", "--gamma", "\U0001f3b2", "--num-envs=1e3", "\x00",
        "--exploration", "--exploration.epsilon", "--=3", "---", "--method", "--discount", "1.5", "--episodes",
        "--environment", "--backend=compiled", "--off-policy", "--no-gif", "--help=", "-V", "--version", "\n",
        "../..", "~", "$HOME", "%s", "{0}", "--json=", "--num-seeds"
    ]  # fmt: skip
    codes, once = [], {}

    def seldom(module, name):  # each takes seconds: one will do
        really = getattr(module, name)
        once[name] = 0

        def called(*arguments, **named):
            once[name] += 1
            return really(*arguments, **named) if once[name] <= 1 else 0

        monkeypatch.setattr(module, name, called)

    seldom(train_command, "run")
    monkeypatch.setattr(examination, "examine", functools.cache(examination.examine))
    for _ in range(300):
        start = [str(word) for word in rng.choice(starts)]
        argv = start + rng.choices(words, k=rng.randint(0, 4))
        if argv[:1] == ["train"]:
            argv += ["--steps", "1", "--num-envs", "2", "--num-steps", "4", "--episodes", "1", "--no-gif"]
        code, _out, err = said(capsys, *argv)
        assert code in (0, 2) and "Traceback" not in err and "unexpected" not in err, (argv, code, err)
        assert code == 0 or err.count("\n") == 1 or not argv, (argv, err)  # a mistake is one line
        codes.append(code)
    assert 150 < codes.count(2) < 294
