"""Tabular temporal-difference learners against the book's boxes as plain NumPy loops in float64."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from operant.algorithms.tabular.double_q_learning import DoubleQLearning
from operant.algorithms.tabular.expected_sarsa import ExpectedSARSA
from operant.algorithms.tabular.n_step_sarsa import NStepSARSA
from operant.algorithms.tabular.n_step_td import NStepTD
from operant.algorithms.tabular.q_learning import QLearning
from operant.algorithms.tabular.sarsa import SARSA
from operant.algorithms.tabular.sarsa_lambda import SARSALambda
from operant.algorithms.tabular.td import TD
from operant.algorithms.tabular.td_lambda import TDLambda
from operant.algorithms.tabular.tree_backup import TreeBackup
from operant.algorithms.tabular.watkins_q_lambda import WatkinsQLambda
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.errors import OperantError
from operant.parts.component import check_fields, strong
from operant.parts.exploration import UCB, EpsilonGreedy, Options, Random
from operant.parts.schedules import Linear
from operant.parts.tabular.rates import Visits

STATES, ACTIONS, LENGTH = 4, 3, 150
ALPHA, GAMMA, LAMBDA, EPSILON, INITIAL = 0.3, 0.8, 0.7, 0.25, 0.5
SPEC = Spec(Discrete(STATES, start=2), Discrete(ACTIONS), 1)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.5)))
KEY = jax.random.key(5)
KEYS = jax.random.split(KEY, LENGTH)
# What a learner draws to follow a truncated step, and the tables that double Q-learning chooses.
DRAWN = np.array([int(Random().select(key, Options(jnp.zeros((1, ACTIONS))), jnp.float32(0))[0]) for key in KEYS])
COINS = np.array([int(jax.random.bernoulli(key)) for key in KEYS])
SHARED = {"learning_rate": ALPHA, "discount": GAMMA, "initial_value": INITIAL}
SOFT, UNIFORM = {**SHARED, "exploration": EpsilonGreedy(EPSILON)}, {**SHARED, "exploration": Random()}


def experience(seed=0):
    """Episodes of a random walk through states, actions and rewards, that end in both ways, of 1 to 12 steps."""
    rng = np.random.default_rng(seed)
    rows, state, age = [], 0, 0
    for _ in range(LENGTH):
        following, chance = rng.integers(STATES), rng.random()
        terminated, truncated = chance < 0.1, 0.1 <= chance < 0.2
        rows.append((state, rng.integers(ACTIONS), rng.normal(), terminated, truncated, following))
        state, age = (rng.integers(STATES), 0) if terminated or truncated else (following, age + 1)
    names = ("state", "action", "reward", "terminated", "truncated", "following")
    return types.SimpleNamespace(
        **{name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )


DATA = experience()
LAST = DATA.terminated | DATA.truncated


def window(data, shape=(LENGTH, 1)):
    shaped = lambda x, dtype: jnp.asarray(x, dtype).reshape(shape)  # noqa: E731
    observations = (shaped(x + 2, jnp.int32) for x in (data.state, data.following))
    first, then = observations
    ends = shaped(data.terminated, bool), shaped(data.truncated, bool)
    steps = Step(first, shaped(data.action, jnp.int32), shaped(data.reward, jnp.float32), *ends, then, ())
    return Window(steps, (), jnp.arange(shape[1], dtype=jnp.int32), jnp.int32(0))


def learned(algorithm, data=DATA):
    """The state after learning from all of `data`, step by step."""
    algorithm.check(SPEC)
    algorithm = strong(algorithm)
    run = jax.jit(lambda a, w: a.learn(a.init(KEY, SPEC), w, KEY, CONTEXT))
    state, metrics = run(algorithm, window(data))
    return state, metrics["td_error"]


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def continues(t):
    return 0.0 if DATA.terminated[t] else 1.0


def soft(values):
    """Probabilities of an epsilon-greedy policy, [A]."""
    best = values == values.max()
    return EPSILON / ACTIONS + (1 - EPSILON) * best / best.sum()


def episodes():
    """The ranges of steps between ends, the last one unfinished."""
    ends = [*np.flatnonzero(LAST) + 1, LENGTH]
    return [(a, b) for a, b in zip([0, *ends], ends, strict=False) if a < b]


# One step


def one_step(target):
    q = np.full((STATES, ACTIONS), INITIAL)
    for t in range(LENGTH):
        s, a = DATA.state[t], DATA.action[t]
        q[s, a] += ALPHA * (DATA.reward[t] + GAMMA * continues(t) * target(q, t) - q[s, a])
    return q


def test_td_is_its_box():
    v = np.full(STATES, INITIAL)
    for t in range(LENGTH):
        s = DATA.state[t]
        v[s] += ALPHA * (DATA.reward[t] + GAMMA * continues(t) * v[DATA.following[t]] - v[s])
    state, errors = learned(TD(**SHARED))
    same(state.policy.values, v)
    assert float(errors.count) == LENGTH


def test_q_learning_is_its_box():
    same(learned(QLearning(**SHARED))[0].policy.action_values, one_step(lambda q, t: q[DATA.following[t]].max()))


def test_expected_sarsa_is_its_equation():
    expected = one_step(lambda q, t: soft(q[DATA.following[t]]) @ q[DATA.following[t]])
    same(learned(ExpectedSARSA(**SOFT))[0].policy.action_values, expected)


def test_double_q_learning_is_its_box():
    q = np.full((2, STATES, ACTIONS), INITIAL)
    for t in range(LENGTH):
        k, s, a, following = COINS[t], DATA.state[t], DATA.action[t], DATA.following[t]
        judged = q[1 - k, following, q[k, following].argmax()]
        q[k, s, a] += ALPHA * (DATA.reward[t] + GAMMA * continues(t) * judged - q[k, s, a])
    state, _ = learned(DoubleQLearning(**SHARED))
    same(state.policy.tables, q)
    same(state.policy.action_values, q.mean(axis=0))
    same(state.policy.at(jnp.arange(STATES)), q.mean(axis=0))


def next_actions():
    """A' of every step: the action that was taken next, or the one drawn where the episode ended."""
    return np.where(LAST, DRAWN, np.append(DATA.action[1:], -1))


def sarsa():
    q, following = np.full((STATES, ACTIONS), INITIAL), next_actions()
    for t in range(LENGTH if LAST[-1] else LENGTH - 1):  # the last step still waits
        s, a = DATA.state[t], DATA.action[t]
        target = DATA.reward[t] + GAMMA * continues(t) * q[DATA.following[t], following[t]]
        q[s, a] += ALPHA * (target - q[s, a])
    return q


def test_sarsa_is_its_box():
    state, errors = learned(SARSA(**UNIFORM))
    same(state.policy.action_values, sarsa())
    assert float(errors.count) == LENGTH - (not LAST[-1])


# Several steps


def n_step(q, n, bootstrap, known):
    """The box of an n-step method on pairs or states `q[place(t)]`, with time and tau as in the book.

    `known(t)`: whether what follows step t is known, so that a return may end there.
    """
    place = lambda t: (DATA.state[t], DATA.action[t])[: q.ndim]  # noqa: E731
    for begin, end in episodes():
        finished, moment = bool(LAST[end - 1]), begin
        while True:
            tau = moment - n + 1
            if tau >= begin:
                newest = min(tau + n, end) - 1
                if tau >= end or not known(newest) or (not finished and tau + n > end):
                    break
                target = sum(GAMMA ** (i - tau) * DATA.reward[i] for i in range(tau, newest + 1))
                target += GAMMA ** (newest + 1 - tau) * continues(newest) * bootstrap(q, newest)
                q[place(tau)] += ALPHA * (target - q[place(tau)])
            moment += 1
    return q


@pytest.mark.parametrize("n", [1, 3, 20])
def test_n_step_td_is_its_box(n):
    expected = n_step(np.full(STATES, INITIAL), n, lambda v, t: v[DATA.following[t]], lambda t: True)
    same(learned(NStepTD(n=n, **SHARED))[0].policy.values, expected)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_n_step_sarsa_is_its_box(n):
    following = next_actions()
    bootstrap = lambda q, t: q[DATA.following[t], following[t]]  # noqa: E731
    expected = n_step(np.full((STATES, ACTIONS), INITIAL), n, bootstrap, lambda t: following[t] >= 0)
    same(learned(NStepSARSA(n=n, **UNIFORM))[0].policy.action_values, expected)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_tree_backup_is_its_box(n):
    q = np.full((STATES, ACTIONS), INITIAL)
    for begin, end in episodes():
        for tau in range(begin, end):
            newest = min(tau + n, end) - 1
            if tau + n > end and not LAST[end - 1]:
                break
            following = DATA.following[newest]
            g = DATA.reward[newest] + GAMMA * continues(newest) * soft(q[following]) @ q[following]
            for k in range(newest, tau, -1):
                s, a, policy = DATA.state[k], DATA.action[k], soft(q[DATA.state[k]])
                others = sum(policy[b] * q[s, b] for b in range(ACTIONS) if b != a)
                g = DATA.reward[k - 1] + GAMMA * others + GAMMA * policy[a] * g
            s, a = DATA.state[tau], DATA.action[tau]
            q[s, a] += ALPHA * (g - q[s, a])
    same(learned(TreeBackup(n=n, target_policy=SOFT["exploration"], **SOFT))[0].policy.action_values, q)


# Traces


def traced(kind, shape, place, bootstrap, steps, keeps=lambda q, t: True):
    q, z, old = np.full(shape, INITIAL), np.zeros(shape), 0.0
    for t in range(steps):
        at, following = place(t), continues(t) * bootstrap(q, t)
        error = DATA.reward[t] + GAMMA * following - q[at]
        z *= GAMMA * LAMBDA * keeps(q, t)
        if kind == "dutch":
            x = np.zeros(shape)
            x[at] = 1.0
            value = q[at]
            z += (1 - ALPHA * z[at]) * x
            q += ALPHA * (error + value - old) * z - ALPHA * (value - old) * x
            old = following
        else:
            z[at] = z[at] + 1 if kind == "accumulating" else 1.0
            q += ALPHA * error * z
        if LAST[t]:
            z[:], old = 0.0, 0.0
    return q


KINDS = ["accumulating", "replacing", "dutch"]
pair = lambda t: (DATA.state[t], DATA.action[t])  # noqa: E731


@pytest.mark.parametrize("kind", KINDS)
def test_td_lambda_is_its_box(kind):
    expected = traced(kind, STATES, lambda t: DATA.state[t], lambda v, t: v[DATA.following[t]], LENGTH)
    same(learned(TDLambda(trace_decay=LAMBDA, traces=kind, **SHARED))[0].policy.values, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_sarsa_lambda_is_its_box(kind):
    following, steps = next_actions(), LENGTH - (not LAST[-1])
    expected = traced(kind, (STATES, ACTIONS), pair, lambda q, t: q[DATA.following[t], following[t]], steps)
    same(learned(SARSALambda(trace_decay=LAMBDA, traces=kind, **UNIFORM))[0].policy.action_values, expected)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_watkins_q_lambda_is_its_loop(kind):
    greedy = lambda q, t: q[pair(t)] == q[DATA.state[t]].max()  # noqa: E731
    best = lambda q, t: q[DATA.following[t]].max()  # noqa: E731
    expected = traced(kind, (STATES, ACTIONS), pair, best, LENGTH, greedy)
    same(learned(WatkinsQLambda(trace_decay=LAMBDA, traces=kind, **SHARED))[0].policy.action_values, expected)


def test_true_online_td_lambda_is_the_online_lambda_return_algorithm():
    """Section 12.4: at every horizon h the whole episode is done again with truncated lambda-returns G_{t:h}."""

    def n_step_return(t, k, begin, states, weights):
        """G_{t:k}, bootstrapping from the weights that were there when S_k was reached."""
        rewards = sum(GAMMA ** (i - t) * DATA.reward[begin + i] for i in range(t, k))
        return rewards + GAMMA ** (k - t) * weights[k - 1][states[k]] * continues(begin + k - 1)

    expected = np.full(STATES, INITIAL)
    for begin, end in episodes():
        states = [*DATA.state[begin:end], DATA.following[end - 1]]
        weights = [expected]  # after the pass of each horizon
        for h in range(1, end - begin + 1):
            w = expected.copy()
            for t in range(h):
                returns = {k: n_step_return(t, k, begin, states, weights) for k in range(t + 1, h + 1)}
                g = sum((1 - LAMBDA) * LAMBDA ** (k - t - 1) * returns[k] for k in range(t + 1, h))
                g += LAMBDA ** (h - t - 1) * returns[h]
                w[states[t]] += ALPHA * (g - w[states[t]])
            weights.append(w)
        expected = weights[-1]
    same(learned(TDLambda(trace_decay=LAMBDA, traces="dutch", **SHARED))[0].policy.values, expected)


# Identities


def values_of(algorithm, data=DATA):
    policy = learned(algorithm, data)[0].policy
    return np.asarray(policy.values if hasattr(policy, "values") else policy.action_values)


@pytest.mark.parametrize("kind", KINDS)
def test_without_traces_lambda_methods_are_one_step_methods(kind):
    none = {"trace_decay": 0.0, "traces": kind}
    same(values_of(TDLambda(**none, **SHARED)), values_of(TD(**SHARED)))
    same(values_of(SARSALambda(**none, **UNIFORM)), values_of(SARSA(**UNIFORM)))
    if kind != "dutch":
        same(values_of(WatkinsQLambda(**none, **SHARED)), values_of(QLearning(**SHARED)))


def test_one_step_of_n_step_methods_is_the_one_step_method():
    same(values_of(NStepTD(n=1, **SHARED)), values_of(TD(**SHARED)))
    same(values_of(NStepSARSA(n=1, **UNIFORM)), values_of(SARSA(**UNIFORM)))
    same(values_of(TreeBackup(n=1, target_policy=SOFT["exploration"], **SOFT)), values_of(ExpectedSARSA(**SOFT)))
    same(values_of(TreeBackup(n=1, **SOFT)), values_of(QLearning(**SOFT)))


def test_a_greedy_expected_sarsa_is_q_learning():
    greedy = {**SHARED, "exploration": EpsilonGreedy(0.0)}
    same(values_of(ExpectedSARSA(**greedy)), values_of(QLearning(**SHARED)))


@pytest.mark.parametrize("power", [1.0, 0.6])
def test_visits_give_every_entry_its_own_falling_rate(power):
    q, counts = np.full((STATES, ACTIONS), INITIAL), np.zeros((STATES, ACTIONS))
    for t in range(LENGTH):
        counts[pair(t)] += 1
        best = DATA.reward[t] + GAMMA * continues(t) * q[DATA.following[t]].max()
        q[pair(t)] += counts[pair(t)] ** -power * (best - q[pair(t)])
    state, _ = learned(QLearning(**SHARED | {"learning_rate": Visits(power)}))
    same(state.policy.action_values, q)
    np.testing.assert_array_equal(state.counts, counts)


def test_sample_averages_without_bootstrap_are_means():
    state, _ = learned(SARSA(**UNIFORM | {"learning_rate": Visits(), "discount": 0.0}))
    done = slice(None) if LAST[-1] else slice(-1)
    for s in range(STATES):
        for a in range(ACTIONS):
            rewards = DATA.reward[done][(DATA.state[done] == s) & (DATA.action[done] == a)]
            same(state.policy.action_values[s, a], rewards.mean())


def test_the_learning_rate_may_follow_a_schedule():
    falling = learned(TD(**SHARED | {"learning_rate": Linear(2 * ALPHA, 0.0)}))[0]  # half of it at half the progress
    same(falling.policy.values, values_of(TD(**SHARED)))


# Two ends, many environments

EVERY = {
    "td": TD(**SHARED), "n-step-td": NStepTD(n=3, **SHARED), "td-lambda": TDLambda(**SHARED),
    "sarsa": SARSA(**SOFT), "expected-sarsa": ExpectedSARSA(**SOFT), "n-step-sarsa": NStepSARSA(n=3, **SOFT),
    "q-learning": QLearning(**SOFT), "double-q-learning": DoubleQLearning(**SOFT),
    "tree-backup": TreeBackup(n=3, **SOFT), "sarsa-lambda": SARSALambda(**SOFT),
    "watkins-q-lambda": WatkinsQLambda(**SOFT),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_a_time_limit_taken_for_death_changes_what_is_learned(name):
    confused = types.SimpleNamespace(**vars(DATA) | {"terminated": LAST, "truncated": np.zeros(LENGTH, bool)})
    assert np.abs(values_of(EVERY[name]) - values_of(EVERY[name], confused)).max() > 1e-2


@pytest.mark.parametrize("name", ["td", "sarsa", "n-step-sarsa", "td-lambda"])
def test_environments_take_turns_at_one_table_with_carries_of_their_own(name):
    """Three streams, step by step, are what the update gives when it is called for each in turn."""
    algorithm, envs = strong(dataclasses.replace(EVERY[name])), 3
    spec = Spec(SPEC.observation_space, SPEC.action_space, envs)
    context, rows = Context(spec, CONTEXT.clock), LENGTH // envs
    # Row-major: step t of stream b is 3 t + b; each stream is a chain of its own.
    data = experience(seed=1)
    every = window(data, (rows, envs))
    both = jax.jit(lambda a, w: a.learn(a.init(KEY, spec), w, KEY, context)[0])(algorithm, every)

    def alone(a, state, carried, step, key):
        one = Window(jax.tree.map(lambda x: x[None, None], step), (), jnp.zeros(1, jnp.int32), jnp.int32(0))
        new, _ = a.learn(state._replace(carried=jax.tree.map(lambda x: x[None], carried)), one, key, CONTEXT)
        return new._replace(carried=()), jax.tree.map(lambda x: x[0], new.carried)

    alone, keys = jax.jit(alone), jax.random.split(KEY, rows * envs)
    state = algorithm.init(KEY, spec)
    carried = [jax.tree.map(lambda x, b=b: x[b], state.carried) for b in range(envs)]
    state = state._replace(carried=())
    for t in range(rows):
        for b in range(envs):
            step = jax.tree.map(lambda x, t=t, b=b: x[t, b], every.steps)
            state, carried[b] = alone(algorithm, state, carried[b], step, keys[t * envs + b])
    for x, y in zip(jax.tree.leaves(both.policy), jax.tree.leaves(state.policy), strict=True):
        same(x, y)


# What cannot be served


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (QLearning(learning_rate=1.5), "learning_rate must be between 0 and 1"),
        (QLearning(learning_rate=Visits(2.0)), "power must be between 0 and 1"),
        (SARSA(discount=-0.1), "discount must be between 0 and 1"),
        (TDLambda(trace_decay=1.1), "trace_decay must be between 0 and 1"),
        (NStepTD(n=0), "n must be at least 1"),
        (ExpectedSARSA(exploration=UCB()), "keeps no counts"),
        (TDLambda(traces="dutsch"), "traces"),
        (WatkinsQLambda(traces="dutch"), "traces"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fields_out_of_range_are_refused(wrong, told):
    with pytest.raises(OperantError, match=told):
        check_fields(wrong)
        wrong.check(SPEC)
