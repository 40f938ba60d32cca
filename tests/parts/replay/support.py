"""What tests of replays share."""

import jax
import jax.numpy as jnp


def assert_carried_in_place(replay, state, rows_of, look):
    """That a training loop copies no replay, whose updates `look(state, number) -> (state, scalar)` may not happen."""

    def iteration(carry, number):
        state, total = carry
        state = replay.push(state, rows_of(number))

        def update(number, loop):
            state, seen = look(loop[0], number)
            return state, loop[1] + seen

        return jax.lax.fori_loop(0, jnp.where(number > 3, 2, 0), update, (state, total)), None

    run = jax.jit(lambda state, total: jax.lax.scan(iteration, (state, total), jnp.arange(10))[0], donate_argnums=0)
    memory = run.lower(state, jnp.float32(0)).compile().memory_analysis()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert memory.alias_size_in_bytes >= held and memory.temp_size_in_bytes < held / 8
