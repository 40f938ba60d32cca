"""Temporal-difference targets and the losses on their errors. Elementwise; shapes broadcast."""

from operant.equations._backend import Array, namespace, stop_gradient

SLOPE = 1e-3  # of `squash` at least, so that it has an inverse that is Lipschitz


def td_target(rewards: Array, continues: Array, next_values: Array, discount: Array | float) -> Array:
    """R + γ · continues · v', held constant: the semi-gradient's target (Sutton & Barto 2018, §9.3).

    What `next_values` is names the method: V(s') for TD(0), Q(s', a') for SARSA, max_a Q(s', a) for Q-learning,
    `expected_value` for expected SARSA, `double_value` for double Q-learning. `continues` is 0 only where
    s' is terminal: a truncated step still bootstraps.
    """
    return stop_gradient(rewards + discount * continues * next_values)


def td_error(values: Array, rewards: Array, continues: Array, next_values: Array, discount: Array | float) -> Array:
    """δ = R + γ · continues · v' - v (Sutton & Barto 2018, eq. 6.5); differentiable in `values` alone."""
    return td_target(rewards, continues, next_values, discount) - values


def expected_value(action_values: Array, probabilities: Array) -> Array:
    """Σ_a π(a) Q(a) over the last axis, [..., A] -> [...] (expected SARSA; Sutton & Barto 2018, eq. 6.9)."""
    return namespace(action_values, probabilities).sum(probabilities * action_values, axis=-1)


def double_value(action_values: Array, selector_values: Array) -> Array:
    """Q(argmax_a selector(a)), [..., A] -> [...] (van Hasselt, Guez & Silver 2016, eq. 4).

    One estimate chooses the action (double DQN: the online network), the other tells its value (the target
    network), so that the noise of one is not maximised over.
    """
    xp = namespace(action_values, selector_values)
    greedy = xp.argmax(selector_values, axis=-1, keepdims=True)
    return xp.take_along_axis(action_values, greedy, axis=-1)[..., 0]


def squared(errors: Array) -> Array:
    """½ e², so that its gradient is the error itself."""
    return 0.5 * errors * errors


def huber(errors: Array, delta: Array | float = 1.0) -> Array:
    """½ e² up to |e| = `delta`, δ (|e| - ½ δ) beyond: the gradient is the error clipped to ±δ (Huber 1964).

    With δ = 1 this is the error clipping of DQN (Mnih et al. 2015, Methods).
    """
    xp = namespace(errors)
    size = xp.abs(errors)
    return xp.where(size <= delta, squared(errors), delta * (size - 0.5 * delta))


def squash(values: Array) -> Array:
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x: a small scale for large returns (Pohlen et al. 2018, prop. A.2)."""
    xp = namespace(values)
    return xp.sign(values) * (xp.sqrt(xp.abs(values) + 1.0) - 1.0) + SLOPE * values


def unsquash(values: Array) -> Array:
    """The inverse of `squash`."""
    xp = namespace(values)
    shifted = xp.abs(values) + 1.0 + SLOPE
    # The root of a quadratic without the difference of near equals: 2 c / (1 + sqrt(1 + 4 SLOPE c)).
    root = 2.0 * shifted / (1.0 + xp.sqrt(1.0 + 4.0 * SLOPE * shifted))
    return xp.sign(values) * (root * root - 1.0)
