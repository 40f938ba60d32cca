"""From an environment of one's own to an agent elsewhere: `python examples/custom_environment/walk.py`.

Checked, trained on eight copies, killed, resumed, evaluated, watched, loaded where the environment does not exist, and
driven in one's own loop. Every step is what one would type; everything is written to a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gymnasium
import numpy as np

import operant
from operant.parts.networks import MLP

HERE = Path(__file__).resolve().parent
ENVIRONMENT = "thermostat:Thermostat-v0"  # the module is imported, and registers the id
SMALL = ("--num-envs", "8", "--num-steps", "64", "--network.hidden", "32,32", "--learning-rate", "linear(3e-3,0)")
TRAIN = ("train", "ppo", ENVIRONMENT, "--steps", "12288", *SMALL)


def command(*words: str) -> list[str]:
    print("operant", *words, flush=True)
    return [sys.executable, "-m", "operant", *words]


def surroundings(path: Path | None = HERE) -> dict[str, str]:
    """Where Python finds Operant, and the module of the environment unless `path` is None."""
    folders = [str(Path(operant.__file__).parents[1])] + ([str(path)] if path else [])
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "PYTHONUTF8": "1"}


def run(*words: str) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(command(*words), env=surroundings(), encoding="utf-8", stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"exit code {done.returncode}")
    return done.stdout


def train_and_kill(out: Path) -> None:
    """Start training, and kill it with nothing said once it has saved something."""
    process = subprocess.Popen(command(*TRAIN, "--out", str(out)), env=surroundings())
    while process.poll() is None and not any(int(path.name) for path in (out / "checkpoints").glob("[0-9]*")):
        time.sleep(0.02)
    process.kill()  # SIGKILL; on Windows, TerminateProcess
    process.wait()


def day(choose, seed: int) -> float:
    """The return of one day of `choose(observation) -> action`, in a loop of one's own."""
    environment = gymnasium.make(ENVIRONMENT)
    observation, _ = environment.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = environment.step(choose(observation))
        total, ended = total + float(reward), terminated or truncated
    return total


def always(power: float):
    return lambda observation: np.array([power], np.float32)


def learn_in_ones_own_loop(steps: int = 256) -> None:
    """The loop that every tutorial draws: act, step, observe."""
    environment = gymnasium.make(ENVIRONMENT)
    fields = {"num_steps": 128, "network": MLP((8,))}
    learner = operant.Learner("ppo", environment, steps=steps, **fields)
    observation, _ = environment.reset(seed=0)
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = environment.step(learner.act(observation))
        learner.observe(reward, terminated, truncated, observation)
        if terminated or truncated:
            observation, _ = environment.reset()
    print(f"learned in one's own loop: {learner.agent}")


def main(folder: Path) -> None:
    sys.path.insert(0, str(HERE))
    out = folder / "run"

    run("check", ENVIRONMENT)
    train_and_kill(out)
    mine = ("--environment", ENVIRONMENT)  # nothing in a run's folder imports a module
    run("resume", str(out), *mine, "--episodes", "16", "--no-gif")
    told = json.loads(run("evaluate", str(out), *mine, "--episodes", "32", "--json"))
    picture = Path(run("watch", str(out), *mine).strip())
    assert picture.read_bytes()[:3] == b"GIF"

    elsewhere = (
        "import importlib.util, operant\n"
        "assert importlib.util.find_spec('thermostat') is None\n"
        f"agent = operant.load({str(out)!r})\n"
        "print(*agent.act({'temperature': [12.0], 'target': [20.0], 'outside': [0.0], 'window': 0}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", elsewhere], env=surroundings(None), encoding="utf-8", stdout=subprocess.PIPE, check=True
    )
    power = float(done.stdout)
    print(f"elsewhere, in a cold room: {power:.2f} kW")
    assert 0.0 <= power <= 3.0

    agent = operant.load(out)
    learned = np.mean([day(agent.act, seed) for seed in range(8)])
    constant = max(np.mean([day(always(power), seed) for seed in range(8)]) for power in (1.0, 1.25, 1.5))
    evaluated = told["evaluation"]["mean"]
    print(
        f"return of a day: {learned:.1f} learned ({evaluated:.1f} when evaluated), {constant:.1f} at the best constant"
    )
    assert learned > constant + 10.0

    learn_in_ones_own_loop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
