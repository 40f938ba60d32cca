"""Members: seeds, or a population of one structure, trained in one program in chunks of any length.

One iteration is whatever a driver's `_learn` does. A chunk runs a number of iterations that is an argument, not a
constant, so that one program serves every chunk. Keys fold in the absolute iteration: how training is cut into
chunks changes nothing, bit for bit. Members are a leading axis of the carry, in equal parts over the devices: they
never speak to one another, so that each device runs its part alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from operant.contracts import Algorithm, Divisible, Ratio, Spec
from operant.core import keys, runtime
from operant.core.metrics import add, cleared, examine
from operant.errors import OperantError
from operant.parts.component import check_fields, strong


class Members(ABC):
    """Trains `members` (one algorithm, or several of one structure), one seed each; a driver says what they do.

    `batching`: `vmap` runs members side by side; `map` one after the other, each bit for bit as if alone.
    `devices` share the members where their number divides them (the largest number that does is taken).
    """

    steps_per_iteration: int
    given: Any = ()  # arrays that all members share and nobody changes: arguments of the programs, in no checkpoint

    def __init__(
        self,
        algorithm: Algorithm | Sequence[Algorithm],
        spec: Spec,
        num_seeds: int = 1,
        batching: Literal["vmap", "map"] = "vmap",
        devices: Sequence[Any] | None = None,
    ):
        several = isinstance(algorithm, Sequence)
        members: list[Any] = list(algorithm) if several else [algorithm] * num_seeds
        self.spec, self.num_seeds = spec, len(members)
        different = {id(member): member for member in members}  # what is several times the same is looked at once
        for member in different.values():
            check_fields(member)
            member.check(spec)
            if isinstance(member, Divisible) and member.in_parts(spec) is not None:
                other = "" if spec.rows else ", or train on the gymnasium backend"
                raise OperantError(
                    f"{type(member).__name__}'s replay is in the host's memory, which training in one program does not "
                    f"reach: keep it in the device's{other}"
                )
        self.members = members
        if several:
            if len({jax.tree.structure(member) for member in members}) > 1:
                raise OperantError("members of a population must share their structure and differ only in data")
            # On the host: a stack of thousands of arrays is a program that takes minutes to compile.
            stack = lambda *leaves: jnp.asarray(np.stack(leaves))  # noqa: E731
            typed = {name: strong(member) for name, member in different.items()}
            self.algorithm: Any = jax.tree.map(stack, *(typed[id(member)] for member in members))
        else:
            self.algorithm = strong(members[0])
        self._axis = 0 if several else None
        self._batching = batching
        devices = jax.local_devices() if devices is None else devices
        shares = max(n for n in range(1, len(devices) + 1) if self.num_seeds % n == 0)
        self._mesh = Mesh(np.array(devices[:shares]), ("members",))
        self._split = NamedSharding(self._mesh, PartitionSpec("members"))
        self._advance = self._compiled(self._chunk, "algorithm", "members", "", "", "", "", donate_argnums=1)
        self._cleared = jax.jit(cleared, out_shardings=self._split)
        # Traced once, though asked twice: for the names of its metrics, and in the chunk.
        self._learned = jax.jit(self._learn, inline=True)

    # What a driver says, of one member

    @abstractmethod
    def _init(self, algorithm: Any, key: Array, given: Any) -> Any:
        """The carry before the first iteration: a NamedTuple with a state, totals and health."""
        ...

    @abstractmethod
    def _learn(self, algorithm: Any, carry: Any, iteration: Array, total: Array, given: Any) -> tuple:
        """One iteration: `(carry, (observations, rewards, stuck))`, its metrics, and ratios of episodes."""
        ...

    # The carry's life

    def start(self, seed: int) -> Any:
        """The carry before the first iteration; member k has seed `seed + k`."""
        roots = keys.roots(seed, self.num_seeds)
        init = self._compiled(self._init, "algorithm", "members", "", compiler_options=runtime.once())
        # Each leaf in a buffer of its own, as donation requires.
        return jax.device_put(init(self.algorithm, roots, self.given), self._split, may_alias=False)

    def template(self) -> Any:
        """Shapes and dtypes of the carry, without computing it."""
        roots = keys.roots(0, self.num_seeds)
        return jax.eval_shape(self._batched(self._init), self.algorithm, roots, self.given)

    def advance(self, carry: Any, iteration: int, count: int, total: int) -> Any:
        """`count` iterations from absolute `iteration` of `total`; consumes `carry`."""
        times = jnp.int32(iteration), jnp.int32(count), jnp.float32(total)
        return self._advance(self.algorithm, carry, *times, self.given)

    def compile(self, carry: Any) -> None:
        """Compile the chunk's program without running it."""
        times = jnp.int32(0), jnp.int32(1), jnp.float32(1)
        self._advance.lower(self.algorithm, carry, *times, self.given).compile()

    def cleared(self, carry: Any) -> Any:
        """`carry` with its metrics at zero."""
        return carry._replace(totals=self._cleared(carry.totals))

    def policies(self, carry: Any) -> Any:
        """A copy of every member's policy, with the leading axis, on one device; it outlives the carry."""
        return jax.device_put(carry.state.policy, self._mesh.devices.flat[0], may_alias=False)

    def close(self) -> None:  # noqa: B027
        """Nothing is held that outlives the arrays."""

    def _compiled(self, function: Any, *arguments: str, **options: Any) -> Any:
        """`_batched(function)` as a program in which each device holds its share of what has the members' axis."""
        members, whole = PartitionSpec("members"), PartitionSpec()
        split = {"algorithm": members if self._axis == 0 else whole, "members": members}
        specs = tuple(split.get(argument, whole) for argument in arguments)
        shared = jax.shard_map(
            self._batched(function), mesh=self._mesh, in_specs=specs, out_specs=members, check_vma=False
        )
        placed = tuple(NamedSharding(self._mesh, spec) for spec in specs)
        return jax.jit(shared, in_shardings=placed, out_shardings=self._split, **options)

    def _batched(self, function: Any) -> Any:
        """`function(algorithm, per-member, *shared)` over the leading axis of the members."""
        if self.num_seeds == 1:

            def alone(algorithm: Any, member: Any, *shared: Any) -> Any:
                algorithm = jax.tree.map(lambda x: x[0], algorithm) if self._axis == 0 else algorithm
                result = function(algorithm, jax.tree.map(lambda x: x[0], member), *shared)
                return jax.tree.map(lambda x: x[None], result)

            return alone
        if self._batching == "map":

            def in_turn(algorithm: Any, member: Any, *shared: Any) -> Any:
                if self._axis == 0:
                    return jax.lax.map(lambda pair: function(*pair, *shared), (algorithm, member))
                return jax.lax.map(lambda one: function(algorithm, one, *shared), member)

            return in_turn

        def together(algorithm: Any, member: Any, *shared: Any) -> Any:
            return jax.vmap(lambda a, m: function(a, m, *shared), in_axes=(self._axis, 0))(algorithm, member)

        return together

    # One member

    def _zeros(self, algorithm: Any, carry: Any, given: Any = ()) -> dict[str, Ratio]:
        """Metrics of nothing, by their names."""
        names = jax.eval_shape(lambda: self._learned(algorithm, carry, jnp.int32(0), jnp.float32(1), given))[1:]
        return {name: Ratio(jnp.float32(0), jnp.float32(0)) for part in names for name in part}

    def _chunk(self, algorithm: Any, carry: Any, first: Array, count: Array, total: Array, given: Any = ()) -> Any:
        iterate = lambda i, c: self._iterate(algorithm, c, i, total, given)  # noqa: E731
        return jax.lax.fori_loop(first, first + count, iterate, carry)

    def _iterate(self, algorithm: Any, carry: Any, iteration: Array, total: Array, given: Any) -> Any:
        old, totals = carry.state.policy, carry.totals
        bare = carry._replace(totals={})
        (carry, (observed, rewards, blocked)), metrics, ratios = self._learned(algorithm, bare, iteration, total, given)
        health = examine(carry.health, iteration, observed, rewards, metrics, carry.state.policy, blocked)
        # A diverged member keeps its last good policy; the others are not concerned.
        policy = jax.tree.map(lambda good, new: jnp.where(health.bad, good, new), old, carry.state.policy)
        state = carry.state._replace(policy=policy)
        return carry._replace(state=state, totals=add(totals, metrics | ratios), health=health)
