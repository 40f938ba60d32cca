"""Operant's side of the speed comparison: its drivers, without runs on disk, checkpoints or evaluation."""

import time
from typing import Any

import gymnasium
import jax
from protocol import Repetition, Run, apart, serve

from operant import C51, DQN, PPO, TRPO
from operant.core import runtime
from operant.core.drivers.compiled import CompiledDriver
from operant.core.drivers.host import HostDriver
from operant.environments import make
from operant.environments.host import Host
from operant.parts.exploration import EpsilonGreedy, Greedy
from operant.parts.networks import MLP, Dueling, NatureCNN, Noisy
from operant.parts.replay import Frames, Prioritised, Uniform, Whole
from operant.parts.schedules import Linear
from operant.parts.values.bootstraps import Double


def algorithm(settings: dict[str, Any], learning_rate: float) -> PPO | TRPO | DQN | C51:
    if settings["algorithm"] == "ppo":
        return PPO(
            learning_rate=learning_rate,
            discount=settings["discount"],
            num_steps=settings["num_steps"],
            num_epochs=settings["num_epochs"],
            num_minibatches=settings["num_minibatches"],
            normalise=(),
            network=MLP((64, 64), "tanh"),
        )
    if settings["algorithm"] == "trpo":
        return TRPO(
            critic_learning_rate=learning_rate,
            discount=settings["discount"],
            gae_lambda=settings["gae_lambda"],
            num_steps=settings["num_steps"],
            num_epochs=settings["num_epochs"],
            num_minibatches=settings["num_minibatches"],
            num_products=settings["num_products"],
            normalise=(),
            network=MLP((64, 64), "tanh"),
        )
    if settings["algorithm"] == "rainbow":
        return C51(
            learning_rate=learning_rate,
            discount=settings["discount"],
            num_atoms=settings["num_atoms"],
            v_min=settings["v_min"],
            v_max=settings["v_max"],
            exploration=Greedy(),
            bootstrap=Double(),
            n_step=settings["n_step"],
            target_every=settings["target_every"],
            warmup=settings["warm_up"],
            num_steps=settings["train_every"],
            batch_size=settings["batch_size"],
            replay=Prioritised(settings["capacity"]),
            network=Noisy(Dueling(MLP((64,), "relu"), (64,))),
        )
    pixels = settings["environment"].startswith("ALE/")
    return DQN(
        learning_rate=learning_rate,
        discount=settings["discount"],
        exploration=EpsilonGreedy(Linear(1.0, 0.05, over=0.1)),
        target_every=settings["target_every"],
        warmup=settings["warm_up"],
        num_steps=settings["train_every"],
        batch_size=settings["batch_size"],
        replay={"uniform": Uniform, "prioritised": Prioritised}[settings.get("replay", "uniform")](
            settings["capacity"], storage=(Frames if pixels else Whole)(memory=settings.get("memory", "device"))
        ),
        network=NatureCNN() if pixels else MLP((64, 64), "relu"),
    )


def driver(settings: dict[str, Any]) -> CompiledDriver | HostDriver:
    runtime.run_inline()  # as operant.train does; its compilation cache stays off here
    runtime.use_cores()
    name, num_envs, rate = settings["environment"], settings.get("num_envs", 1), settings["learning_rate"]
    if settings.get("backend") == "gymnasium":
        made = lambda: Host([lambda: gymnasium.make(name)] * num_envs, name)  # noqa: E731
        host: Any = make(name, num_envs, "gymnasium", training=True) if name.startswith("ALE/") else made()
        if settings.get("apart"):
            apart.watch(host.vector, "step")
        return HostDriver(algorithm(settings, rate), host)
    environment = make(name, backend="compiled")
    members = settings.get("members", 1)
    # One learning rate each, from half to twice the case's.
    rates = [rate * 2.0 ** (2 * k / (members - 1) - 1) for k in range(members)] if members > 1 else [rate]
    return CompiledDriver([algorithm(settings, rate) for rate in rates], environment, num_envs)


def build(settings: dict[str, Any]) -> tuple[float, Run]:
    """Compile everything that training runs, and return what trains from scratch for `settings["steps"]`."""
    trainer = driver(settings)
    iterations = max(1, settings["steps"] // trainer.steps_per_iteration)
    steps = iterations * trainer.steps_per_iteration * trainer.num_seeds

    start = time.perf_counter()
    jax.block_until_ready(trainer.advance(trainer.start(0), 0, 1, iterations))
    compile_seconds = time.perf_counter() - start

    def run(seed: int) -> Repetition:
        carry = jax.block_until_ready(trainer.start(seed * trainer.num_seeds))

        def repetition() -> int:
            jax.block_until_ready(trainer.advance(carry, 0, iterations, iterations))
            return steps

        return repetition

    run(0)()
    return compile_seconds, run


if __name__ == "__main__":
    serve(build, ("jax", "equinox", "gymnax", "gymnasium"))
