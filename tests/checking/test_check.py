"""operant check: every defect on an environment broken on purpose, and nothing on environments that are not."""

import functools
import itertools
import json

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from gymnax.environments.classic_control.cartpole import CartPole

import operant
from operant.checking.run import check
from operant.cli import main
from operant.errors import OperantError
from tests.probes import Discounting, Probe, Truncation
from tests.worlds import Picky


class Sound(gymnasium.Env):
    """A random walk with nothing wrong: it terminates at either side, and is cut after ten steps."""

    observation_space, action_space = Box(-4, 4, (2,)), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = self.np_random.uniform(-1, 1), 0
        return self.seen(), {}

    def step(self, action):
        self.time += 1
        self.place += (2 * action - 1) + self.np_random.normal(scale=0.1)
        over = abs(self.place) > 2.5
        return self.seen(), 1.0, bool(over), bool(self.time >= 10 and not over), {}

    def seen(self):
        return np.clip(np.float32([self.place, self.place / 2]), -4, 4)


def broken(**methods):
    """A class like `Sound` with some methods or attributes replaced."""
    return type("Broken", (Sound,), methods)


def after(change):
    """`step`, its five values changed by `change(self, *values)`."""
    return lambda self, action: change(self, *Sound.step(self, action))


def unseeded_reset(self, *, seed=None, options=None):
    _, info = Sound.reset(self, seed=seed)
    if seed is None:
        self._np_random = np.random.default_rng()
        self.place = self.np_random.uniform(-1, 1)
    return self.seen(), info


def reused(self):
    self.buffer = getattr(self, "buffer", np.zeros(2, np.float32))
    self.buffer[:] = Sound.seen(self)
    return self.buffer


SHARED, SHAPES, COUNT = np.zeros(2, np.float32), itertools.count(1), itertools.count()


def shared(self):
    SHARED[:] = Sound.seen(self)
    return SHARED


def shared_step(self, action):
    type(self).noise = getattr(type(self), "noise", 0.0) + 1.0
    if self.time == 0:
        type(self).noise = 0.0
    observation, *rest = Sound.step(self, action)
    return observation + np.float32([0.0, type(self).noise * 0.01]), *rest


def unequal(self):
    self.observation_space = Box(-4, np.float32(4 + next(SHAPES)), (2,))


def merged(self, action):
    self.time += 1
    self.place = self.np_random.uniform(-1, 1)
    return self.seen(), 1.0, self.time >= 7, False, {}


def endless(self, action):
    return self.seen(), 1.0, False, False, {}


def raising(self, action):
    raise RuntimeError("no\nmore")


NAN, FAR = np.float32([np.nan, 0]), np.float32([9, 0])
BROKEN = {
    "four-tuple": broken(step=after(lambda self, o, r, t, c, i: (o, r, t or c, i))),
    "step-values": broken(step=after(lambda self, o, *rest: o)),
    "reset-values": broken(reset=lambda self, *, seed=None, options=None: Sound.reset(self, seed=seed)[0]),
    "reset-arguments": broken(reset=lambda self: Sound.reset(self)),
    "raises": broken(step=raising),
    "no-space": broken(action_space=2),
    "action-space": broken(action_space=gymnasium.spaces.Dict({"a": Discrete(2)})),
    "observation-shape": broken(step=after(lambda self, o, *rest: (o[:1], *rest))),
    "observation-dtype": broken(observation_space=Box(-4, 4, (2,), np.int32)),
    "observation-structure": broken(observation_space=gymnasium.spaces.Dict({"a": Box(-4, 4, (2,))})),
    "outside-space": broken(step=after(lambda self, o, *rest: (FAR, *rest))),
    "non-finite-observation": broken(step=after(lambda self, o, *rest: (NAN, *rest))),
    "non-finite-reward": broken(step=after(lambda self, o, r, *rest: (o, np.inf, *rest))),
    "reward-type": broken(step=after(lambda self, o, r, *rest: (o, [r], *rest))),
    "reward-scale": broken(step=after(lambda self, o, r, *rest: (o, 1e5, *rest))),
    "end-type": broken(step=after(lambda self, o, r, t, c, i: (o, r, int(t), c, i))),
    "info-type": broken(step=after(lambda self, o, r, t, c, i: (o, r, t, c, None))),
    "unseeded-randomness": broken(step=after(lambda self, o, r, *rest: (o, next(COUNT), *rest))),
    "shared-state": broken(step=shared_step),
    "reused-buffer": broken(seen=reused),
    "unequal-spaces": broken(__init__=unequal),
    "merged-ends": broken(step=merged),
    "endless": broken(step=endless),
    "unbounded-action": broken(action_space=Box(-np.inf, np.inf, (1,)), step=lambda self, a: Sound.step(self, 1)),
}


def names(report):
    return [finding.name for finding in report]


@pytest.mark.parametrize("name", BROKEN)
def test_each_defect_is_named_and_comes_with_its_fix(name):
    report = check(BROKEN[name], steps=200)
    assert name in names(report) and not report.ok and not report
    assert len(report) == 1 or name == "reused-buffer"
    for finding in report:
        assert finding.fix and "\n" not in str(finding) and str(finding) in str(report)


@pytest.mark.parametrize(
    "name, environment",
    [
        ("unseeded-randomness", broken(reset=unseeded_reset)),
        ("shared-state", broken(seen=shared)),
        ("merged-ends", broken(step=after(lambda s, o, r, t, c, i: (o, r, t or c, False, {"TimeLimit.truncated": c})))),
        ("reward-scale", broken(step=after(lambda self, o, r, *rest: (o, 1e-6, *rest)))),
        ("observation-dtype", broken(seen=lambda self: Sound.seen(self).astype(np.float64))),
    ],
)
def test_the_same_defects_in_other_ways(name, environment):
    assert name in names(check(environment, steps=200))


def test_nothing_is_found_where_nothing_is_wrong():
    for environment in (Sound, Sound(), lambda: Sound()):
        report = check(environment, steps=200)
        assert report and not len(report), str(report)


def test_masks_are_kept_to_and_examined():
    assert not operant.check(Picky, steps=50).errors  # it raises where an illegal action is taken
    (finding,) = operant.check(functools.partial(Picky, emptied=2), steps=50).errors[:1]
    assert finding.name == "empty-mask" and "at the step 2" in finding.seen

    class Short(Picky):
        def mask(self):
            return super().mask()[:3]

    class Lax(Short):
        def step(self, action):
            return super().step(1)

    (finding,) = operant.check(Lax, steps=50).errors
    assert finding.name == "action-mask" and "shape (3,) at the reset, for [4] actions" in finding.seen


def test_a_four_tuple_below_gymnasiums_own_wrappers():
    gymnasium.register("Broken-v0", entry_point=BROKEN["four-tuple"], max_episode_steps=9)
    try:
        assert names(check("Broken-v0", steps=50)) == ["four-tuple"]
    finally:
        del gymnasium.registry["Broken-v0"]


def test_a_time_limit_told_as_termination_is_an_error_where_the_limit_is_known():
    gymnasium.register("Broken-v0", entry_point=BROKEN["merged-ends"], max_episode_steps=7)
    try:
        (finding,) = check("Broken-v0", steps=50)
        assert (finding.name, finding.level) == ("merged-ends", "error") and "step 7, the time limit" in finding.seen
    finally:
        del gymnasium.registry["Broken-v0"]


# --- vector environments


class Changed(VectorWrapper):
    def __init__(self, change, count=4, mode=AutoresetMode.SAME_STEP):
        super().__init__(SyncVectorEnv([Sound] * count, autoreset_mode=mode))
        self.change = change

    def step(self, actions):
        return self.change(*self.env.step(actions))


def final_kept(o, r, t, c, i):
    ended = t | c
    for k in np.flatnonzero(ended):
        o[k] = i["final_obs"][k]
    return o, r, t, c, i


def final_forgotten(o, r, t, c, i):
    if "final_obs" in i:
        i["final_obs"] = [None if one is None else o[k] for k, one in enumerate(i["final_obs"])]
    return o, r, t, c, i


def test_broken_autoreset_is_found():
    def dropped(o, r, t, c, i):
        return o, r, t, c, {}

    def unchanged(*values):
        return values

    assert names(check(Changed(final_kept), steps=400)) == ["broken-autoreset"]
    assert names(check(Changed(final_forgotten), steps=400)) == ["final-observation"]
    assert names(check(Changed(dropped), steps=400)) == ["final-observation"]
    assert names(check(Changed(unchanged, mode=AutoresetMode.NEXT_STEP), steps=400)) == ["junk-step"]
    for mode in AutoresetMode:
        assert check(SyncVectorEnv([Sound] * 4, autoreset_mode=mode), steps=400).ok


def test_environments_that_are_all_seeded_alike():
    class Alike(VectorWrapper):
        def reset(self, *, seed=None, options=None):
            return self.env.reset(seed=[seed] * self.num_envs if seed is not None else None, options=options)

    vector = SyncVectorEnv([Sound] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert names(check(Alike(vector), steps=400)) == ["equal-seeds"]


# --- compiled environments


class Five(Discounting):
    def step(self, key, world, action, params=None):
        observation, world, reward, terminated, _, info = super().step(key, world, action, params)
        return observation, world, reward, terminated, info


def altered(**changes):
    """A compiled probe of which some of step's six values are replaced by functions of them."""
    places = ("observation", "world", "reward", "terminated", "truncated", "info")

    class Altered(Discounting):
        length = 4

        def step(self, key, world, action, params=None):
            told = dict(zip(places, super().step(key, world, action, params), strict=True))
            return tuple(changes[place](told) if place in changes else told[place] for place in places)

        def observation_space(self, params):
            return Box(-9.0, 9.0, (1,), np.float32)

        def observe(self, world):
            return jnp.float32(world.time)[None]

    return Altered()


COMPILED = {
    "step-values": Five(),
    "final-observation": altered(info=lambda told: {}),
    "state-type": altered(world=lambda told: told["world"]._replace(time=jnp.float32(told["world"].time))),
    "end-type": altered(terminated=lambda told: jnp.float32(told["terminated"])),
    "reward-type": altered(reward=lambda told: told["reward"][None]),
    "observation-shape": altered(observation=lambda told: told["observation"][0]),
    "unseeded-randomness": altered(reward=lambda told: told["reward"] + np.random.rand()),
    "not-traceable": altered(reward=lambda told: 1.0 if told["terminated"] else 0.0),
    "outside-space": altered(info=lambda told: {"final_observation": told["info"]["final_observation"] + 99}),
    "non-finite-reward": altered(reward=lambda told: told["reward"] / 0.0),
    "broken-autoreset": altered(observation=lambda told: told["info"]["final_observation"]),
}


@pytest.mark.parametrize("name", COMPILED)
def test_each_defect_of_a_compiled_environment(name):
    report = check(COMPILED[name], steps=160)
    assert name in names(report), str(report)
    # A wrong observation around an end also hides the time, which the end then seems to lack.
    assert set(names(report)) <= {name, "merged-ends"} and report.backend == "compiled"


class Merged(Probe):
    """A time limit of six steps, told as termination; nothing seen tells the time."""

    length = 6


def test_merged_ends_of_compiled_environments():
    (finding,) = check(Merged(), steps=160)
    assert (finding.name, finding.level) == ("merged-ends", "error")
    assert check(Truncation(), steps=160).ok
    assert check(altered(), steps=160).ok  # the time is seen, so that this end is the problem's own


class Heavier(CartPole):
    @property
    def default_params(self):
        return super().default_params.replace(gravity=12.0)


class Kinder(CartPole):
    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        return observation, state, 2 * reward, terminated & False, info


def test_a_compiled_environment_that_disagrees_with_its_twin():
    assert names(check(Heavier(), steps=80)) == ["parity-observation"]
    assert names(check(Kinder(), steps=80)) == ["parity-reward", "parity-terminated"]


def test_a_real_disagreement_is_told_as_it_is():
    # gymnax lets the continuous car keep its speed at the left wall, where Gymnasium's stops.
    (finding,) = check("MountainCarContinuous-v0", steps=80)
    assert finding.name == "parity-observation" and "'position': -1.1" in finding.seen


REAL = [
    *((name, "gymnasium") for name in ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Acrobot-v1")),
    *((name, "gymnasium") for name in ("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "Blackjack-v1")),
    *((name, "compiled") for name in ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Acrobot-v1")),
    *((name, "compiled") for name in ("DeepSea-bsuite", "Catch-bsuite", "DiscountingChain-bsuite")),
]


@pytest.mark.parametrize("name, backend", REAL)
def test_nothing_false_is_said_of_real_environments(name, backend):
    report = check(name, backend=backend, steps=400)
    assert report.ok, str(report)


def test_the_command_line(capsys):
    assert operant.check is check
    assert main(["check", "CartPole-v1", "--backend", "gymnasium", "--steps", "100", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"environment": "CartPole-v1", "backend": "gymnasium", "ok": True, "findings": []}
    assert "nothing found" in err
    assert main(["check", "tests.checking.test_check:Sound", "--steps", "100"]) == 0
    gymnasium.register("Broken-v0", entry_point=BROKEN["four-tuple"])
    try:
        assert main(["check", "Broken-v0", "--json"]) == 1
    finally:
        del gymnasium.registry["Broken-v0"]
    out, err = capsys.readouterr()
    assert json.loads(out)["findings"][0]["name"] == "four-tuple" and "fix: split done" in err
    assert main(["check", "CartPol-v1"]) == 2 and "did you mean" in capsys.readouterr().err
    with pytest.raises(OperantError, match="steps must be"):
        check("CartPole-v1", steps=0)


def test_keys_are_no_constants():
    class Keyed(Discounting):
        key = jax.random.key(1)

        def pay(self, world, action):
            return jax.random.uniform(jax.random.fold_in(self.key, world.time))

    (finding,) = check(Keyed(), steps=80)
    assert finding.name == "outside-space"  # the probe shows the time 2 in a box up to 1
