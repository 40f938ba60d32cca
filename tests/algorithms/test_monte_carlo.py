"""Monte-Carlo learners: each update against the book's box in float64, and convergence to exact solutions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from operant import finite, make
from operant.algorithms.tabular.mc_prediction import MCPrediction
from operant.algorithms.tabular.monte_carlo import MonteCarlo
from operant.algorithms.tabular.off_policy_mc import OffPolicyMC
from operant.algorithms.tabular.off_policy_mc_prediction import OffPolicyMCPrediction
from operant.contracts import Clock, Context, Episodes, Spec, Step, Window
from operant.core.drivers.compiled import CompiledDriver
from operant.errors import OperantError
from operant.parts.exploration import UCB, Boltzmann, EpsilonGreedy, Greedy, Random
from operant.parts.schedules import Linear
from operant.parts.tabular.rates import Visits
from operant.parts.tabular.tables import TablePolicy

STATES, ACTIONS, LIMIT, ENVS, DISCOUNT = 4, 3, 12, 3, 0.9
LENGTHS = (12, 5, 9)  # the first is cut by the limit
SPEC = Spec(Discrete(STATES), Discrete(ACTIONS), ENVS, LIMIT)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.0)))
RNG = np.random.default_rng(0)
TARGET = TablePolicy.of(RNG.dirichlet(np.ones(ACTIONS), STATES))
BEHAVIOUR = TablePolicy.of(RNG.dirichlet(np.ones(ACTIONS) * 3, STATES))


def episodes(seed):
    """Arrays `[LIMIT, ENVS]`: states, actions, rewards, next states, chances of the actions."""
    rng = np.random.default_rng(seed)
    states = rng.integers(0, STATES, (LIMIT + 1, ENVS))
    actions, chances = rng.integers(0, ACTIONS, (LIMIT, ENVS)), rng.uniform(0.2, 0.9, (LIMIT, ENVS))
    return states[:-1], actions, rng.normal(size=(LIMIT, ENVS)), states[1:], chances


def window_of(seed, extras=False):
    states, actions, rewards, following, chances = episodes(seed)
    times, lengths = np.arange(LIMIT)[:, None], np.array(LENGTHS)[None]
    last = times == lengths - 1
    # What stands behind an end is junk of the next episode, its ends included.
    terminated = (last & (lengths < LIMIT)) | ((times > lengths) & (times % 2 == 0))
    steps = Step(
        jnp.int32(states), jnp.int32(actions), jnp.float32(rewards), jnp.asarray(terminated),
        jnp.asarray(last & (lengths == LIMIT)), jnp.int32(following), jnp.float32(chances) if extras else (),
    )  # fmt: skip
    return Window(steps, (), jnp.arange(ENVS, dtype=jnp.int32), jnp.int32(0), jnp.asarray(times < lengths))


def learned(algorithm, windows=3):
    """The state after `windows` windows of `episodes`."""
    state = algorithm.init(jax.random.key(0), SPEC)
    learn = jax.jit(lambda state, window: algorithm.learn(state, window, jax.random.key(0), CONTEXT)[0])
    for seed in range(windows):
        state = learn(state, window_of(seed, isinstance(algorithm, OffPolicyMC)))
    return state


def played(windows=3, cut=None):
    """Every episode of `learned`: a list of (state, action, reward, chance), and the state after a cut, or None."""
    for seed in range(windows):
        states, actions, rewards, following, chances = episodes(seed)
        yield [
            ([*zip(*(column[:length, e] for column in (states, actions, rewards, chances)), strict=True)],
             following[length - 1, e] if length == LIMIT else None)
            for e, length in enumerate(LENGTHS)
        ]  # fmt: skip


@pytest.mark.parametrize("visits", ["first", "every"])
@pytest.mark.parametrize("rate", [Visits(), Visits(0.7), 0.2], ids=["average", "power", "constant"])
def test_prediction_is_the_books(visits, rate):
    values, counts = np.full(STATES, 0.5), np.zeros(STATES)
    for window in played():
        before = values.copy()
        for steps, cut in window:
            g = 0.0 if cut is None else before[cut]
            for t in reversed(range(len(steps))):
                s, _, reward, _ = steps[t]
                g = reward + DISCOUNT * g
                if visits == "every" or s not in [step[0] for step in steps[:t]]:
                    counts[s] += 1
                    values[s] += (rate if rate == 0.2 else counts[s] ** -rate.power) * (g - values[s])
    state = learned(MCPrediction(TARGET, rate, DISCOUNT, visits, initial_value=0.5))
    np.testing.assert_allclose(state.policy.values, values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("visits", ["first", "every"])
@pytest.mark.parametrize("rate", [Visits(), 0.2], ids=["average", "constant"])
def test_control_is_the_books(visits, rate):
    values, counts, epsilon = np.full((STATES, ACTIONS), 0.5), np.zeros((STATES, ACTIONS)), 0.3
    for window in played():
        before = values.copy()
        for steps, cut in window:
            g = 0.0
            if cut is not None:
                best = before[cut] == before[cut].max()
                g = (epsilon / ACTIONS + (1 - epsilon) * best / best.sum()) @ before[cut]
            for t in reversed(range(len(steps))):
                s, a, reward, _ = steps[t]
                g = reward + DISCOUNT * g
                if visits == "every" or (s, a) not in [step[:2] for step in steps[:t]]:
                    counts[s, a] += 1
                    values[s, a] += (rate if rate == 0.2 else 1 / counts[s, a]) * (g - values[s, a])
    state = learned(MonteCarlo(rate, DISCOUNT, EpsilonGreedy(epsilon), visits, initial_value=0.5))
    np.testing.assert_allclose(state.policy.action_values, values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("visits", ["first", "every"])
@pytest.mark.parametrize("weighting", ["weighted", "ordinary"])
def test_off_policy_prediction_is_the_books(visits, weighting):
    pi, b = (np.array(table.probabilities) for table in (TARGET, BEHAVIOUR))
    values, total = np.zeros(STATES), np.zeros(STATES)
    for window in played():
        before = values.copy()
        for steps, cut in window:
            g, w = 0.0 if cut is None else before[cut], 1.0
            for t in reversed(range(len(steps))):
                s, a, reward, _ = steps[t]
                g, w = reward + DISCOUNT * g, w * pi[s, a] / b[s, a]
                if visits == "every" or s not in [step[0] for step in steps[:t]]:
                    total[s] += w if weighting == "weighted" else 1.0
                    error = w * (g - values[s]) if weighting == "weighted" else w * g - values[s]
                    values[s] += error / total[s]
    state = learned(OffPolicyMCPrediction(TARGET, BEHAVIOUR, DISCOUNT, weighting, visits))
    np.testing.assert_allclose(state.policy.values, values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighting", ["weighted", "ordinary"])
def test_off_policy_control_is_the_books(weighting):
    values, total = np.full((STATES, ACTIONS), 0.5), np.zeros((STATES, ACTIONS))
    for window in played():
        before = values.copy()
        for steps, cut in window:
            g, w = 0.0 if cut is None else before[cut].max(), 1.0
            for s, a, reward, chance in reversed(steps):
                g = reward + DISCOUNT * g
                if weighting == "weighted":
                    if w == 0:
                        break
                    total[s, a] += w
                    values[s, a] += w / total[s, a] * (g - values[s, a])
                else:
                    total[s, a] += 1
                    values[s, a] += (w * g - values[s, a]) / total[s, a]
                w = w / chance if values[s].argmax() == a else 0.0
    state = learned(OffPolicyMC(DISCOUNT, Random(), weighting, initial_value=0.5))
    np.testing.assert_allclose(state.policy.action_values, values, rtol=1e-4, atol=1e-5)


def test_first_and_every_visit_differ_only_where_states_repeat():
    first, every = (learned(MCPrediction(discount=DISCOUNT, visits=v)).policy.values for v in ("first", "every"))
    assert np.abs(first - every).max() > 0.01
    # A corridor: no state is seen twice.
    spec = dataclasses.replace(SPEC, observation_space=Discrete(LIMIT + 1))
    context, times = CONTEXT._replace(spec=spec), jnp.arange(LIMIT, dtype=jnp.int32)[:, None]
    window = window_of(0)
    steps = window.steps._replace(observation=times + 0 * window.steps.action, next_observation=times + 1 + 0 * times)
    seen = window._replace(steps=steps._replace(next_observation=steps.observation + 1))
    learn = lambda algorithm, state: algorithm.learn(state, seen, jax.random.key(0), context)[0].policy  # noqa: E731
    results = [
        jax.jit(learn)(algorithm, algorithm.init(jax.random.key(0), spec))
        for kind in (MCPrediction, OffPolicyMCPrediction)
        for algorithm in (kind(discount=DISCOUNT, visits=v) for v in ("first", "every"))
    ]
    for policy in results[1:]:
        # So do importance weights of one, by which the off-policy learner is the plain one.
        np.testing.assert_allclose(results[0].values, policy.values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighting", ["weighted", "ordinary"])
def test_a_policy_judged_by_its_own_episodes_is_plain_monte_carlo(weighting):
    plain = learned(MCPrediction(TARGET, discount=DISCOUNT, initial_value=0.0)).policy.values
    same = learned(OffPolicyMCPrediction(TARGET, TARGET, DISCOUNT, weighting)).policy.values
    # But for the cut episodes, whose bootstrap is read before the window by one and by the other alike.
    np.testing.assert_allclose(same, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighting", ["weighted", "ordinary"])
def test_an_action_that_neither_policy_takes_does_not_spoil_the_weights_of_short_episodes(weighting):
    # Behind the end of a short episode stand zeros, an impossible action among them: a ratio of 0 / 0.
    always = TablePolicy.of(np.eye(ACTIONS)[[1] * STATES])
    rewards = jnp.zeros((LIMIT, 1)).at[:2, 0].set(jnp.array([1.0, 2.0]))
    number, none = jnp.zeros((LIMIT, 1), jnp.int32), jnp.zeros((LIMIT, 1), bool)
    steps = Step(
        number.at[1].set(1), number.at[:2].set(1), rewards, none.at[1].set(True), none, number.at[:2].set(1), ()
    )
    window = Window(steps, (), jnp.zeros(1, jnp.int32), jnp.int32(0), none.at[:2].set(True))
    algorithm = OffPolicyMCPrediction(always, always, DISCOUNT, weighting)
    context = CONTEXT._replace(spec=dataclasses.replace(SPEC, num_envs=1))
    state, _ = algorithm.learn(algorithm.init(jax.random.key(0), context.spec), window, jax.random.key(0), context)
    np.testing.assert_allclose(state.policy.values, [1.0 + 2.0 * DISCOUNT, 2.0, 0.0, 0.0], rtol=1e-6)


def trained(algorithm, problem, iterations, num_envs=8, seeds=1, seed=0, **kwargs):
    """The states after training on a finite problem, with a leading axis of seeds."""
    driver = CompiledDriver(algorithm, make(problem, kwargs=kwargs or None), num_envs, num_seeds=seeds)
    return driver.advance(driver.start(seed), 0, iterations, iterations).state


WALK = dataclasses.replace(finite.problems.random_walk(5, left=0.0), horizon=100)


@pytest.mark.parametrize("visits", ["first", "every"])
def test_values_of_the_random_walk(visits):
    # Example 6.2: 1/6 ... 5/6. The average of n returns of 0 and 1 is known to 1/(2 sqrt n).
    state = trained(MCPrediction(visits=visits), WALK, 400)
    counts = np.asarray(state.counts[0, 1:6])
    error = np.asarray(state.policy.values[0, 1:6]) - np.arange(1, 6) / 6
    # Every-visit returns of one episode are all alike, so that visits count for less.
    assert np.abs(error * np.sqrt(counts)).max() < (2.0 if visits == "first" else 6.0) and counts.min() > 1000


def loop(reward):
    """Example 5.5: left stays with probability .9 and else ends with `reward`; right ends with nothing."""
    outcomes = {0: [(0.9, 0, 0.0, False), (0.1, 1, reward, False)], 1: [(1.0, 1, 0.0, False)]}
    return finite.MDP.from_function(
        2, 2, lambda s, a: outcomes[a], terminal=[1], start=np.eye(2)[0], discount=1.0, horizon=60
    )


@pytest.mark.slow
def test_ordinary_importance_sampling_may_have_infinite_variance():
    # Figure 5.4: always left, v = 1, judged by episodes of a fair coin.
    left = TablePolicy(((1.0, 0.0), (1.0, 0.0)))
    weighted, ordinary = (
        trained(OffPolicyMCPrediction(left, weighting=weighting), loop(1.0), 1000, seeds=12).policy.values[:, 0]
        for weighting in ("weighted", "ordinary")
    )
    # Every episode that the policy could have played returns 1, so that the weighted average is exact.
    np.testing.assert_allclose(weighted, 1.0, rtol=1e-5)
    # With variance 1, 8,000 episodes would have left an error of 0.01; most runs are still far below, a few far off.
    assert np.median(np.abs(ordinary - 1.0)) > 0.05 and np.std(ordinary) > 0.1


def test_the_mean_square_of_ordinary_weights_grows_without_bound():
    # 0.1 sum_k 0.9^k 2^(k+1): the exact sum of example 5.5, by episode length, of the samples of the test above.
    lengths = np.arange(1, 60)
    partial = np.cumsum(0.5 * 0.1 * (0.5 * 0.9) ** (lengths - 1) * 4.0**lengths)
    assert partial[-1] > 1e6 and (np.diff(partial, 2) > 0).all()


BLACKJACK = dataclasses.replace(finite.problems.blackjack(), horizon=30)


def stick_from(total):
    """Stick on `total` or more, else hit: example 5.1's policy with 20."""
    table = np.zeros((BLACKJACK.num_states, 2))
    for state, label in enumerate(BLACKJACK.state_labels[:-1]):
        table[state, 0 if int(label.split(",")[0]) >= total else 1] = 1.0
    table[-1, 0] = 1.0
    return table


def test_blackjack_is_judged_as_the_exact_solution_does():
    # Figure 5.1, from uniform starts so that every state is seen.
    going = ~BLACKJACK.terminal
    problem = dataclasses.replace(BLACKJACK, start=going / going.sum())
    policy = stick_from(20)
    state = trained(MCPrediction(TablePolicy.of(policy)), problem, 800, num_envs=64)
    exact = finite.policy_evaluation(BLACKJACK, policy, discount=1.0).values
    counts = np.asarray(state.counts[0])
    error = np.asarray(state.policy.values[0]) - exact
    # Returns are -1, 0 or 1: their deviation is at most 1. 280 states are looked at.
    assert np.abs(error * np.sqrt(np.maximum(counts, 1)))[:-1].max() < 4.0 and counts[:-1].min() > 100


def lost(values):
    """How much the policy greedy in `values` loses in blackjack, exactly."""
    greedy = np.eye(2)[np.asarray(values).argmax(axis=1)]
    worth = finite.policy_evaluation(BLACKJACK, greedy, discount=1.0).values @ BLACKJACK.start
    return finite.value_iteration(BLACKJACK, discount=1.0).values @ BLACKJACK.start - worth


# Six seeds each: soft lost at most 0.018 after 96,000 episodes and 0.011 after 256,000, the others 0.007 and 0.004.
@pytest.mark.slow
@pytest.mark.parametrize(("iterations", "soft", "rest"), [(1500, 0.04, 0.015), (4000, 0.02, 0.008)])
def test_blackjack_is_learned(iterations, soft, rest):
    # Figure 5.2. An epsilon-soft policy is judged with its own mistakes, and so is slower to see what is close.
    assert lost(np.zeros((BLACKJACK.num_states, 2))) > 0.1
    going = ~BLACKJACK.terminal
    uniform = dataclasses.replace(BLACKJACK, start=going / going.sum())
    for algorithm, bound in (
        (MonteCarlo(exploration=EpsilonGreedy(0.1)), soft),
        (MonteCarlo(exploration=Greedy(), exploring_starts=True), rest),
        (OffPolicyMC(exploration=EpsilonGreedy(0.5)), rest),
    ):
        values = trained(algorithm, uniform, iterations, num_envs=64).policy.action_values[0]
        assert lost(values) < bound, (algorithm, lost(values))


def test_exploring_starts_draw_the_first_action_only():
    algorithm = MonteCarlo(exploration=Greedy(), exploring_starts=True)
    spec = dataclasses.replace(SPEC, num_envs=3000)
    context = Context(spec, CONTEXT.clock)
    state = algorithm.init(jax.random.key(0), spec)
    policy = state.policy._replace(action_values=state.policy.action_values.at[:, 1].set(1.0))
    memory = algorithm.start(policy, jax.random.key(0), spec)
    here = jnp.zeros(spec.num_envs, jnp.int32)
    act = jax.jit(lambda memory, key: algorithm.act(policy, memory, here, key, context, explore=True))
    memory, first, _ = act(memory, jax.random.key(1))
    _, second, _ = act(memory, jax.random.key(2))
    assert np.abs(np.bincount(first, minlength=ACTIONS) / spec.num_envs - 1 / 3).max() < 0.04
    assert (second == 1).all()
    fresh = algorithm.start(policy, jax.random.key(0), spec)
    assert (algorithm.act(policy, fresh, here, jax.random.key(1), context, explore=False)[1] == 1).all()


def test_what_cannot_be_served_is_refused():
    narrow = TablePolicy.of(np.eye(ACTIONS)[[0, 1, 2, 0]])
    for algorithm, match in (
        (OffPolicyMCPrediction(TARGET, narrow), "no coverage: in state 0 the policy takes action 1"),
        (OffPolicyMC(exploration=Greedy()), "no coverage"),
        (OffPolicyMC(exploration=UCB()), "no coverage"),
        (OffPolicyMC(exploration=EpsilonGreedy(Linear(1.0, 0.0))), "no coverage"),
        (OffPolicyMC(weighting="light"), "unknown weighting 'light'"),  # type: ignore[arg-type]
        (MCPrediction(visits="last"), "unknown visits 'last'"),  # type: ignore[arg-type]
        (MonteCarlo(exploration=UCB()), "counts"),
        (MonteCarlo(discount=1.5), "discount"),
        (OffPolicyMC(discount=1.5), "discount"),
    ):
        assert algorithm.window() == Episodes()
        with pytest.raises(OperantError, match=match):
            algorithm.check(SPEC)
    for algorithm in (
        OffPolicyMCPrediction(narrow, TARGET), OffPolicyMC(exploration=Boltzmann()), OffPolicyMC(), MonteCarlo(),
        MCPrediction(TARGET),
    ):  # fmt: skip
        algorithm.check(SPEC)
