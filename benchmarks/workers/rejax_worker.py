"""Rejax 0.1.3's side of the speed comparison.

Evaluation is off: `train` evaluates every `eval_freq` steps and once before the first, so `eval_freq` is set to
the whole of training, the initial evaluation is skipped, and the one call that is left returns an empty tuple.
What remains in the compiled program is the training loop alone.

Rejax's DQN steps every environment once and then makes `num_epochs` updates, so "one update every k steps" is
k environments there: the same transitions and the same updates, with the environment steps batched in its favour.
"""

import time
from typing import Any

import jax
import rejax
from protocol import Repetition, Run, serve


def algorithm(settings: dict[str, Any]) -> rejax.algos.algorithm.Algorithm:
    common = {
        "env": settings["environment"],
        "total_timesteps": settings["steps"],
        "eval_freq": settings["steps"],
        "skip_initial_evaluation": True,
        "learning_rate": settings["learning_rate"],
        "gamma": settings["discount"],
    }
    if settings["algorithm"] == "ppo":
        created = rejax.get_algo("ppo").create(
            **common,
            num_envs=settings["num_envs"],
            num_steps=settings["num_steps"],
            num_epochs=settings["num_epochs"],
            num_minibatches=settings["num_minibatches"],
            max_grad_norm=0.5,
            agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
        )
    else:
        created = rejax.get_algo("dqn").create(
            **common,
            num_envs=settings["train_every"],
            num_epochs=1,
            batch_size=settings["batch_size"],
            buffer_size=settings["capacity"],
            fill_buffer=settings["warm_up"],
            target_update_freq=settings["target_every"],
            polyak=0.0,
            ddqn=False,
            agent_kwargs={"activation": "relu"},
        )
    return created.replace(eval_callback=lambda algo, state, key: ())


def build(settings: dict[str, Any]) -> tuple[float, Run]:
    algo = algorithm(settings)
    train = jax.jit(lambda key: algo.train(key)[0])
    start = time.perf_counter()
    compiled = train.lower(jax.random.key(0)).compile()
    compile_seconds = time.perf_counter() - start

    def run(seed: int) -> Repetition:
        key = jax.random.key(seed)
        return lambda: int(jax.block_until_ready(compiled(key)).global_step)

    run(0)()  # the first call also allocates and warms the caches
    return compile_seconds, run


if __name__ == "__main__":
    serve(build, ("rejax", "jax", "gymnax"))
