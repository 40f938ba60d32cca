"""Trust region policy optimisation, and the natural policy gradient inside it.

Source: Schulman et al. 2015, "Trust Region Policy Optimization", section 6 and appendix C; the natural gradient after
Kakade 2001, "A Natural Policy Gradient".

    for each iteration:
    1.    run the policy for T steps in each of N environments
    2.    compute advantages by GAE and value targets = advantages + values
    3.    g = gradient of  L(theta) = mean of  pi_theta(a|s) / pi_old(a|s) A
    4.    solve (F + damping I) x = g by conjugate gradients; F, only multiplied with vectors, is the Fisher matrix,
          the Hessian at theta_old of  KL(theta) = mean of  KL(pi_old(.|s) || pi_theta(.|s))
    5.    the longest step within the quadratic model of the bound:  s = sqrt(2 max_kl / x'(F + damping I)x) x
    6.    for j = 0, 1, ...: take theta_old + backtrack^j s if there KL <= max_kl and L has improved;
          after num_backtracks trials without success stay at theta_old
    7.    fit the values to their targets: K epochs of shuffled minibatches

With `num_backtracks=0` the whole step s is always taken: the natural policy gradient, its step set by the bound.

Deviations from the paper: one sample of an action in each visited state ("single path") with GAE in place of the
empirical returns; damping and all of the window's states in F, where the paper takes a tenth of them; the critic is
fitted by an optimiser. Rewards are scaled by the spread of their returns, advantages normalised over the window. A
network with memory is trained by back-propagation through the whole window, minibatches are then made of whole
environments.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from operant.contracts import Context, Spec, Window
from operant.equations import surrogate, whiten
from operant.parts.component import check_positive, check_range, component
from operant.parts.networks import MLP, Recipe
from operant.parts.networks.heads import Actor
from operant.parts.optimisers import Adam, Optimiser
from operant.parts.policies.actor_critic import ActorCritic, Batch, State, fit_critic
from operant.parts.schedules import Scalar, at


@component
class TRPO(ActorCritic):
    max_kl: Scalar = 0.01  # how far one update may move the policy, in nats
    damping: float = 0.1
    num_products: int = 10  # at most, of the Fisher matrix with a vector, in conjugate gradients
    backtrack: float = 0.8  # each trial of the line search is so much shorter than the one before
    num_backtracks: int = 10  # trials of the line search; 0 is the natural policy gradient
    critic_learning_rate: Scalar = 1e-3
    discount: float = 0.99
    gae_lambda: float = 0.97
    num_steps: int = 256
    num_epochs: int = 10
    num_minibatches: int = 8
    normalise: tuple[str, ...] = ("rewards",)  # of "observations", "rewards"
    network: Recipe = MLP((64, 64), "tanh")
    optimiser: Optimiser = Adam()

    def check(self, spec: Spec) -> None:
        self.check_window(spec)
        check_range(self, 1, math.inf, "num_products", "num_epochs", "num_minibatches")
        check_range(self, 0, math.inf, "damping", "num_backtracks", "critic_learning_rate")
        check_range(self, 0, 1, "backtrack")
        if self.num_backtracks == 0:
            check_positive(self, "damping")  # nothing would catch a step along a direction without curvature
        check_positive(self, "max_kl")
        self.check_minibatches(spec, self.num_minibatches)

    def init(self, key: Array, spec: Spec) -> State:
        state = self.fresh(key, spec)
        return state._replace(optimiser=self.optimiser.transform().init(state.critic))

    def learn(self, state: State, window: Window, key: Array, context: Context) -> tuple[State, dict[str, Array]]:
        # 2.
        state, batch, metrics = self.estimate(state, window, context)
        # 3. - 6.
        actor, moved = self._moved(state.policy.actor, batch, context)
        # 7.
        rate = at(self.critic_learning_rate, context.clock.progress)
        critic, moments, fitted = fit_critic(
            self.optimiser, state.critic, state.optimiser, batch, key, rate, self.num_epochs, self.num_minibatches
        )
        return state.learned(actor, critic, moments), metrics | moved | fitted

    def _moved(self, actor: Actor, batch: Batch, context: Context) -> tuple[Actor, dict[str, Array]]:
        """The actor after one update from a window."""
        old, unravel = ravel_pytree(actor)
        (times, (memory, _)), bound = batch, at(self.max_kl, context.clock.progress)
        advantage = whiten(times.advantage)

        def policy(parameters: Array):
            actor = unravel(parameters)
            _, outputs, _ = actor.network.unroll(memory, times.features, times.last)
            return actor.distribution(outputs, context.spec.action_space, times.mask)

        def loss(parameters: Array) -> Array:
            log_ratio = policy(parameters).log_prob(times.action) - times.log_prob
            return jnp.mean(surrogate(log_ratio, advantage))

        acted = policy(old)

        def kl(parameters: Array) -> Array:
            return jnp.mean(acted.kl(policy(parameters)))

        # 3. - 5.
        before, gradient = jax.value_and_grad(loss)(old)
        fisher = fisher_product(kl, old)
        step = natural_step(lambda v: fisher(v) + self.damping * v, -gradient, bound, self.num_products)
        # 6.
        judge = lambda trial: (kl(trial) <= bound) & (loss(trial) < before)  # noqa: E731
        new = self._searched(judge, old, step) if self.num_backtracks else old + step
        metrics = {
            "policy_loss": loss(new),
            "kl": kl(new),
            "entropy": jnp.mean(acted.entropy()),
            "gradient_norm": jnp.linalg.norm(gradient),
            "step_norm": jnp.linalg.norm(new - old),
        }
        return unravel(new), metrics

    def _searched(self, judge: Callable[[Array], Array], old: Array, step: Array) -> Array:
        """The first of the ever shorter steps that `judge` accepts, `old` where it accepts none."""
        trial = lambda number: old + self.backtrack**number * step  # noqa: E731
        unsure = lambda search: ~search[1] & (search[0] < self.num_backtracks)  # noqa: E731
        attempt = lambda search: (search[0] + 1, judge(trial(search[0])))  # noqa: E731
        tried, accepted = jax.lax.while_loop(unsure, attempt, (jnp.int32(0), jnp.bool_(False)))
        return jnp.where(accepted, trial(tried - 1), old)


def fisher_product(kl: Callable[[Array], Array], parameters: Array) -> Callable[[Array], Array]:
    """v -> F v with the Hessian F of `kl` at `parameters`, where it has its minimum: there F is the Fisher matrix.

    The gradient is differentiated once; each product runs only the linear part of that again.
    """
    return jax.linearize(jax.grad(kl), parameters)[1]


def natural_step(product: Callable[[Array], Array], gradient: Array, bound: Array, num_products: int) -> Array:
    """The step s along x = H⁻¹ `gradient` with ½ s'Hs = `bound`, given v -> H v; zero for a gradient of zero."""
    direction = conjugate_gradients(product, gradient, num_products)
    curvature = jnp.dot(direction, product(direction))
    return jnp.sqrt(2.0 * bound / jnp.maximum(curvature, jnp.finfo(curvature.dtype).tiny)) * direction


def conjugate_gradients(product: Callable[[Array], Array], b: Array, num_products: int) -> Array:
    """x with H x = `b`, given v -> H v of a positive definite H, from zero (Hestenes & Stiefel 1952).

    Once what is left of `b` is a millionth of it, there are only rounding errors to divide by, and x stays.
    """
    enough = 1e-12 * jnp.dot(b, b)

    def improve(_: Array, solution: tuple) -> tuple:
        x, left, along, size = solution
        image = product(along)
        length = jnp.where(size > enough, size / jnp.dot(along, image), 0.0)
        x, left = x + length * along, left - length * image
        smaller = jnp.dot(left, left)
        return x, left, left + jnp.where(size > enough, smaller / size, 0.0) * along, smaller

    return jax.lax.fori_loop(0, num_products, improve, (jnp.zeros_like(b), b, b, jnp.dot(b, b)))[0]
