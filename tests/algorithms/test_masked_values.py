"""Action values under masks: what is chosen, and what a target ranges over, are the legal actions alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from scipy.special import log_softmax, logsumexp

import operant
from operant.agent import Agent
from operant.contracts import Clock, Context, Spec, Step, Window
from operant.errors import OperantError
from operant.parts.exploration import Boltzmann, EpsilonGreedy, Greedy, Random
from operant.parts.networks import GRU, MLP, Dueling, Noisy
from operant.parts.replay import Uniform, sequences, transitions
from operant.parts.values.bootstraps import Double, Munchausen

ROWS, FEATURES, ACTIONS, DISCOUNT = 24, 5, 4, 0.8
SPACE = Dict({"seen": Box(-np.inf, np.inf, (FEATURES,), np.float32), "action_mask": MultiBinary(ACTIONS)})
SPEC = Spec(SPACE, Discrete(ACTIONS), 2)
KEY, NET = jax.random.key(0), MLP((8,))
SOFT = Munchausen(temperature=0.5)
CONTEXT = Context(SPEC, Clock(jnp.int32(0), jnp.float32(0.5)))


def masks(rng, *lead):
    """Random masks, of one legal action at least and all but one at most."""
    order = rng.permuted(np.broadcast_to(np.arange(ACTIONS), (*lead, ACTIONS)), axis=-1)
    return order < rng.integers(1, ACTIONS, (*lead, 1))


def network_of(algorithm, seed):
    """A network whose values differ from one another by about one."""
    return jax.tree.map(lambda leaf: 3.0 * leaf, algorithm._build(jax.random.key(seed), SPEC))


def wide(x):
    return np.asarray(x, np.float64)


def followed(bootstrap, target, judge, legal):
    """The policy in one state of values `[A]`, and what is added to their value, by the legal actions' definition."""
    allowed, policy = np.flatnonzero(legal), np.zeros(ACTIONS)
    if isinstance(bootstrap, Munchausen):
        log_policy = log_softmax(target[allowed] / bootstrap.temperature)
        policy[allowed] = np.exp(log_policy)
        return policy, -bootstrap.temperature * np.sum(np.exp(log_policy) * log_policy)
    values = judge if isinstance(bootstrap, Double) else target
    policy[allowed[np.argmax(values[allowed])]] = 1.0
    return policy, 0.0


def bonus(bootstrap, values, action, legal):
    if not isinstance(bootstrap, Munchausen):
        return 0.0
    allowed = list(np.flatnonzero(legal))
    log_policy = log_softmax(values[allowed] / bootstrap.temperature)[allowed.index(action)]
    return bootstrap.weight * np.clip(bootstrap.temperature * log_policy, bootstrap.lowest, 0.0)


DEEP = {
    "dqn": operant.DQN(network=NET),
    "double": operant.DQN(network=NET, bootstrap=Double()),
    "munchausen": operant.DQN(network=NET, bootstrap=SOFT),
    "c51": operant.C51(network=NET, v_min=-1.0, v_max=1.0),
    "iqn": operant.IQN(network=NET, bootstrap=Double()),
}


@pytest.mark.parametrize("name", DEEP)
def test_targets_range_over_the_legal_actions_of_what_followed(name):
    algorithm, rng = DEEP[name], np.random.default_rng(0)
    judge, target = network_of(algorithm, 1), network_of(algorithm, 2)
    features, following = jnp.float32(rng.normal(size=(2, ROWS, FEATURES)))
    legal, legal_then = masks(rng, ROWS), masks(rng, ROWS)
    action = np.array([rng.choice(np.flatnonzero(row)) for row in legal], np.int32)
    discount = jnp.float32(np.where(np.arange(ROWS) % 5 == 4, 0.0, DISCOUNT))
    reward = jnp.float32(rng.normal(size=ROWS))
    batch = transitions.Batch(features, jnp.asarray(action), reward, discount, following, legal, legal_then)
    goal = jax.jit(algorithm._goal)(judge, target, batch, KEY)
    returns, before = wide(algorithm._returns(target, following, KEY)), wide(algorithm._values(target, features))
    held, judged = (wide(algorithm._values(network, following)) for network in (target, judge))
    for row in range(ROWS):
        policy, added = followed(algorithm.bootstrap, held[row], judged[row], legal_then[row])
        more = bonus(algorithm.bootstrap, before[row], action[row], legal[row])
        np.testing.assert_allclose(goal.returns[row], policy @ returns[row], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(goal.reward[row], reward[row] + more + discount[row] * added, rtol=1e-4, atol=1e-5)
    blind = algorithm._goal(judge, target, batch._replace(legal=None, legal_then=None), KEY)
    differ = np.abs(wide(blind.returns) - wide(goal.returns)).max(axis=-1) > 1e-3
    assert differ.sum() > ROWS / 4, "the masks matter here"


def test_the_conservative_penalty_is_over_legal_actions():
    algorithm, rng = operant.CQL(network=NET, conservative_weight=0.7), np.random.default_rng(1)
    network, features = network_of(algorithm, 1), jnp.float32(rng.normal(size=(ROWS, FEATURES)))
    legal, action = masks(rng, ROWS), jnp.zeros(ROWS, jnp.int32)
    batch = transitions.Batch(features, action, *[jnp.zeros(ROWS)] * 2, features, legal, legal)
    goal = algorithm._goal(network, network, batch, KEY)
    values = wide(algorithm._values(network, features))
    gaps = [logsumexp(values[row][legal[row]]) - values[row, 0] for row in range(ROWS)]
    losses = algorithm._loss(network, batch, goal, KEY)[0]
    np.testing.assert_allclose(losses, 0.5 * values[:, 0] ** 2 + 0.7 * np.array(gaps), rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda network: jnp.mean(algorithm._loss(network, batch, goal, KEY)[0]))(network)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def observed(rng, mask):
    return {"seen": jnp.float32(rng.normal(size=(*mask.shape[:-1], FEATURES))), "action_mask": jnp.int8(mask)}


def test_a_mask_of_several_steps_is_that_of_the_state_that_many_steps_later():
    rng, replay, n = np.random.default_rng(2), Uniform(16), 3
    spec = dataclasses.replace(SPEC, num_envs=1)
    example, carried = transitions.example_of(spec, n)
    mask, after = masks(rng, 16, 1), masks(rng, 16, 1)
    last = (np.arange(16) % 5 == 4)[:, None]
    terminated = last & (np.arange(16) % 2 == 0)[:, None]
    after[:-1] = np.where(last[:-1, :, None], after[:-1], mask[1:])
    after[terminated] = False  # nothing is legal where nothing follows
    seen, following = observed(rng, mask), observed(rng, after)
    steps = Step(seen, jnp.zeros((16, 1), jnp.int32), jnp.ones((16, 1)), terminated, last & ~terminated, following, ())
    rows, _ = transitions.rows_of(Window(steps, (), jnp.arange(1), jnp.int32(0), None), carried)
    state = replay.push(replay.init(example, 16), rows)
    stretch = transitions.stretches(replay, state, jnp.arange(16), n, spec)
    batch = transitions.minibatch(stretch, DISCOUNT, spec)
    np.testing.assert_array_equal(batch.legal, mask[:, 0])
    for row in range(16):
        end = next(t for t in range(row, 16) if last[t, 0] or t == row + n - 1 or t == 15)
        expected = np.ones(ACTIONS, bool) if terminated[end, 0] else after[end, 0]
        np.testing.assert_array_equal(batch.legal_then[row], expected)
        assert (batch.discount[row] == 0) == terminated[end, 0]


@pytest.mark.parametrize("bootstrap", [Double(), SOFT])
def test_sequences_have_masks_of_their_own_steps(bootstrap):
    length, burn, rng = 5, 2, np.random.default_rng(3)
    algorithm = operant.DRQN(bootstrap=bootstrap, network=GRU(6, (6,)), num_steps=length, burn_in=burn, batch_size=ROWS)
    judge, target = network_of(algorithm, 1), network_of(algorithm, 2)
    seen, after = (observed(rng, masks(rng, ROWS, steps)) for steps in (burn + length, length))
    legal, legal_then = wide(seen["action_mask"])[:, burn:] > 0, wide(after["action_mask"]) > 0
    action = np.array([[rng.choice(np.flatnonzero(step)) for step in row] for row in legal], np.int32)
    reward, nothing = jnp.float32(rng.normal(size=(ROWS, length))), jnp.zeros((ROWS, burn + length), bool)
    rows = sequences.Sequence(jnp.zeros((ROWS, 6)), seen, nothing, action, reward, jnp.ones((ROWS, length)), after)
    batch = sequences.minibatch(rows, SPEC)
    goal = algorithm._goal(judge, target, batch, KEY)
    values, held, judged = [], [], []
    for network, kept in ((target, held), (judge, judged)):
        outputs, memory = algorithm._unrolled(network, batch)
        values.append(wide(algorithm._unscaled(outputs)))
        kept += list(wide(algorithm._unscaled(network.after(memory, batch.following))))
    for t, b in np.ndindex(length, ROWS):
        policy, added = followed(bootstrap, held[t][b], judged[t][b], legal_then[b, t])
        more = bonus(bootstrap, values[0][t, b], action[b, t], legal[b, t])
        expected = reward[b, t] + more + algorithm.discount * (policy @ held[t][b] + added)
        np.testing.assert_allclose(goal[t, b], expected, rtol=1e-3, atol=1e-4)


LATEST = {
    "expected": operant.DeepSARSA(network=NET, discount=DISCOUNT, expected=True, exploration=EpsilonGreedy(0.3)),
    "pqn": operant.PQN(network=NET, discount=DISCOUNT, trace_decay=0.0),
    "sampled": operant.DeepSARSA(network=NET, discount=DISCOUNT, exploration=Random()),
    "mc": operant.DeepMC(network=NET, discount=DISCOUNT, exploration=EpsilonGreedy(0.3)),
}


@pytest.mark.parametrize("name", LATEST)
def test_targets_from_the_latest_window_range_over_legal_actions(name, monkeypatch):
    """Every step is an end, so that each has a next value of its own."""
    algorithm, rng, shape = LATEST[name], np.random.default_rng(4), (6, 8)
    state = algorithm.init(KEY, SPEC)
    state = state._replace(policy=jax.tree.map(lambda leaf: 3.0 * leaf, state.policy))
    terminated = np.arange(48).reshape(shape) % 7 == 6
    mask, after = masks(rng, *shape), masks(rng, *shape)
    after[terminated] = False
    following, reward = observed(rng, after), jnp.float32(rng.normal(size=shape))
    steps = Step(observed(rng, mask), jnp.zeros(shape, jnp.int32), reward, terminated, ~terminated, following, ())
    window = jax.tree.map(jnp.asarray, Window(steps, (), np.arange(8), np.int32(0), np.ones(shape, bool)))
    if name == "pqn":
        target = algorithm.returns(state, window, CONTEXT)[1]
    elif name == "mc":
        told = []
        monkeypatch.setattr(type(algorithm), "regress_epochs", lambda self, state, rows, *_: told.append(rows.target))
        algorithm.learn(state, window, KEY, CONTEXT)
        target = told[0].reshape(shape)
    else:
        target = algorithm.targets(state, window, KEY, CONTEXT)[1]
    values = wide(state.policy.after((), following["seen"]))
    for t, b in np.ndindex(*shape):
        allowed = values[t, b][after[t, b]]
        if terminated[t, b]:
            possible = [0.0]
        elif name == "sampled":
            possible = allowed
        else:
            possible = [allowed.max() if name == "pqn" else 0.7 * allowed.max() + 0.3 * allowed.mean()]
        errors = np.abs(target[t, b] - reward[t, b] - DISCOUNT * np.array(possible))
        assert errors.min() < 1e-4


ACTING = {
    "epsilon-greedy": DEEP["c51"],
    "random": LATEST["sampled"],
    "boltzmann": operant.DeepSARSA(network=NET),
    "noisy": operant.DQN(network=Noisy(Dueling(NET), sigma=5.0), exploration=Greedy()),
    "drqn": operant.DRQN(network=GRU(6, (6,))),
}


@pytest.mark.parametrize("name", ACTING)
def test_no_illegal_action_is_taken_whatever_the_network_says(name):
    algorithm, rng, number = ACTING[name], np.random.default_rng(5), 400
    spec = dataclasses.replace(SPEC, num_envs=number)
    policy, mask = algorithm.init(KEY, spec).policy, masks(rng, number)
    memory, seen = algorithm.start(policy, KEY, spec), observed(rng, mask)
    for explore in (True, False):

        @jax.jit
        def act(policy, explore=explore):
            return algorithm.act(policy, memory, seen, KEY, Context(spec, CONTEXT.clock), explore=explore)[1]

        for scale in (3.0, np.inf, np.nan):
            action = np.asarray(act(jax.tree.map(lambda leaf: scale * leaf, policy)))  # noqa: B023
            assert mask[np.arange(number), action].all() and len(set(action)) == ACTIONS


def test_what_is_shown_of_an_illegal_action_is_no_value():
    algorithm = DEEP["c51"]
    policy = algorithm.init(KEY, SPEC).policy
    agent = Agent(algorithm, policy, {"algorithm": "c51", "seeds": [0]}, (SPACE, Discrete(ACTIONS)))
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0]], np.int8)
    seen = {"seen": np.zeros((2, FEATURES), np.float32), "action_mask": mask}
    outlook = agent.outlook(seen)
    np.testing.assert_array_equal(np.isneginf(outlook.values), mask == 0)
    assert np.isfinite(outlook.values[mask > 0]).all() and np.isfinite(outlook.returns).all()


@operant.component
class Even:
    """Every action alike, whatever is legal; or only what is said of them is so."""

    kept: str = "nothing"
    needs_counts = False

    def select(self, key, options, progress):
        return (Greedy() if self.kept == "select" else Random()).select(key, options._replace(legal=None), progress)

    def probabilities(self, options, progress):
        told = options if self.kept == "probabilities" else options._replace(legal=None)
        return Random().probabilities(told, progress)


@operant.component
class Best:
    """The best value, so that it need not look at what is legal."""

    needs_counts = False

    def select(self, key, options, progress):
        return jnp.argmax(options.values, axis=-1)

    def probabilities(self, options, progress):
        return jax.nn.one_hot(jnp.argmax(options.values, axis=-1), options.values.shape[-1])


@operant.component
class Late(Best):
    """Keeps to what is legal in the first half of training."""

    def probabilities(self, options, progress):
        return jnp.where(progress < 0.75, Best().probabilities(options, progress), 1.0 / options.values.shape[-1])


def test_a_rule_that_does_not_keep_to_masks_and_a_mask_that_does_not_fit_are_refused():
    for algorithm in (operant.DQN, operant.PQN):
        for rule in (Even(), Even("select"), Even("probabilities"), Late()):
            algorithm(exploration=rule).check(Spec(SPACE["seen"], Discrete(ACTIONS), 16))
            with pytest.raises(OperantError, match=f"{type(rule).__name__} may take actions that are not legal"):
                algorithm(exploration=rule).check(dataclasses.replace(SPEC, num_envs=16))
        for rule in (Best(), Greedy(), Random(), EpsilonGreedy(0.0), Boltzmann(1e-3)):
            algorithm(exploration=rule).check(dataclasses.replace(SPEC, num_envs=16))
        with pytest.raises(OperantError, match="the action_mask has the shape"):
            algorithm().check(Spec(SPACE, Discrete(ACTIONS + 1), 16))
