"""make(): everything that may be called an environment, and one line for everything that may not."""

import functools
import sys
import types

import gymnasium
import gymnax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv
from gymnax.environments.classic_control.cartpole import CartPole

from operant.environments import Compiled, Host, gymnasium_names, make
from operant.errors import OperantError
from tests.probes import ContinuousAction, Truncation, as_gymnasium


class Own(gymnasium.Env):
    observation_space, action_space = Box(-1, 1, (1,)), Discrete(2)
    made: list = []  # noqa: RUF012

    def __init__(self, size=1):
        if size < 1:
            raise ValueError(f"no size {size}\nsecond line")
        self.size, self.open = size, True
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def close(self):
        self.open = False


@pytest.fixture(autouse=True)
def fresh():
    Own.made.clear()


def instances(host):
    return [environment.unwrapped for environment in host.vector.envs]


def test_an_id_prefers_its_compiled_twin():
    for backend in ("auto", "compiled"):
        world = make("CartPole-v1", 3, backend)
        assert isinstance(world, Compiled) and world.name == "CartPole-v1" and world.pooled
    host = make("CartPole-v1", 3, "gymnasium")
    assert isinstance(host, Host) and host.num_envs == 3 and host.name == "CartPole-v1"
    host.close()
    host = make("Blackjack-v1", 2)
    assert isinstance(host, Host) and host.num_envs == 2
    host.close()
    assert "Blackjack-v1" in gymnasium_names()


@pytest.mark.parametrize(
    "environment, backend, words",
    [
        ("CartPol-v1", "auto", "unknown environment 'CartPol-v1': did you mean 'CartPole-v1'"),
        ("Breakout-MinAtr", "auto", "did you mean 'Breakout-MinAtar'"),
        ("CartPol-v1", "compiled", "unknown compiled environment 'CartPol-v1': did you mean 'CartPole-v1'"),
        ("Blackjack-v1", "compiled", "Blackjack-v1 has no compiled backend"),
        ("Breakout-MinAtar", "gymnasium", "Breakout-MinAtar has no gymnasium backend"),
        ("CartPole-v1", "gymnasum", "unknown backend 'gymnasum': did you mean 'gymnasium'"),
        ("absent_module:Own-v0", "auto", "Own-v0 could not be made: ModuleNotFoundError"),
        (Own, "compiled", "Own has no compiled backend"),
        (CartPole(), "gymnasium", "CartPole-v1 has no gymnasium backend"),
        (CartPole, "gymnasium", "CartPole-v1 has no gymnasium backend"),
        (3, "auto", "3 is not an environment"),
        (None, "auto", "None is not an environment"),
        (lambda: 3, "auto", "made int, which is not an environment"),
        (functools.partial(Own, size=0), "auto", "partial could not be made: ValueError: no size 0"),
    ],
)
def test_what_cannot_be_made_is_one_line(environment, backend, words):
    with pytest.raises(OperantError, match=words) as caught:
        make(environment, 2, backend)
    assert "\n" not in str(caught.value)
    assert not any(environment.open for environment in Own.made)


def test_a_module_is_imported_for_its_id(monkeypatch):
    module = types.ModuleType("worlds_of_mine")
    gymnasium.register("Mine-v0", entry_point=Own, max_episode_steps=9)
    monkeypatch.setitem(sys.modules, "worlds_of_mine", module)
    try:
        host = make("worlds_of_mine:Mine-v0", 2, kwargs={"size": 4})
        assert [one.size for one in instances(host)] == [4, 4] and host.time_limit == 9
        with pytest.raises(OperantError, match=r"Mine-v0 could not be made: ValueError: no size 0$"):
            make("Mine-v0", kwargs={"size": 0})
        with pytest.raises(OperantError, match="Mine-v0 could not be made: TypeError"):
            make("Mine-v0", kwargs={"colour": 0})
    finally:
        del gymnasium.registry["Mine-v0"]


@pytest.mark.parametrize("given", [Own, lambda size=1: Own(size), "id"])
def test_only_what_is_used_stays_open_and_all_is_closed(given):
    gymnasium.register("Mine-v0", entry_point=Own)
    try:
        host = make("Mine-v0" if given == "id" else given, 3, kwargs={"size": 2})
    finally:
        del gymnasium.registry["Mine-v0"]
    *measured, _, _, _ = Own.made  # one copy whose steps were measured, where there are cores to choose from
    assert len(measured) <= 1 and not any(one.open for one in measured) and instances(host) == Own.made[-3:]
    assert {one.size for one in Own.made} == {2} and all(one.open for one in Own.made[-3:])
    host.close()
    assert not any(one.open for one in Own.made)


def test_environments_made_before_one_that_fails_are_closed():
    def second_fails():
        return Own(1 - len(Own.made))

    with pytest.raises(OperantError, match="could not be made"):
        make(second_fails, 3)
    assert len(Own.made) == 1 and not Own.made[0].open


def test_a_factory_that_gives_one_environment_twice_is_refused():
    one = Own()
    with pytest.raises(OperantError, match="the same environment twice"):
        make(lambda: one, 2)


def test_an_instance_is_one_environment_never_copied():
    one = Own(3)
    host = make(one, 8)
    assert host.num_envs == 1 and instances(host) == [one] and Own.made == [one] and one.open


def test_a_vector_environment_is_taken_as_it_is():
    vector = SyncVectorEnv([Own, Own])
    assert make(vector, 8).vector is vector
    assert make(lambda: vector, 8).vector is vector
    with pytest.raises(OperantError, match="no compiled backend"):
        make(vector, 8, "compiled")


def test_compiled_environments_as_instance_class_and_factory():
    for given in (CartPole(), CartPole, lambda: CartPole(), Truncation(), Truncation):
        for backend in ("auto", "compiled"):
            world = make(given, 4, backend)
            assert isinstance(world, Compiled)
            assert world.name in ("CartPole-v1", "Truncation")
    world = make(gymnax.make("Pendulum-v1")[0])
    assert make(world) is world
    host = make(as_gymnasium(ContinuousAction), 2)
    assert isinstance(host, Host) and host.name == "ContinuousAction"
    assert make(host) is host


def test_parameters_of_compiled_environments():
    world = make("CartPole-v1", kwargs={"gravity": 1.5, "max_steps_in_episode": 7})
    assert world.params.gravity == 1.5 and world.time_limit == 7
    assert make(Truncation(), kwargs={"max_steps_in_episode": 3}).time_limit == 3  # a NamedTuple
    with pytest.raises(OperantError, match="unknown parameter of CartPole-v1 'gravty': did you mean 'gravity'"):
        make("CartPole-v1", 1, "compiled", {"gravty": 1.0})
    for field in ("replace", "__class__"):  # attributes that are no parameters
        with pytest.raises(OperantError, match="unknown parameter"):
            make(CartPole(), kwargs={field: 1.0})


def test_keywords_that_only_gymnasium_knows_choose_its_backend():
    host = make("CartPole-v1", 2, kwargs={"sutton_barto_reward": True})
    assert isinstance(host, Host)
    host.reset(0)
    assert host.step(np.array([0, 1])).reward.tolist() == [0.0, 0.0]
    host.close()
