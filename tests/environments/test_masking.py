"""Action masks at the edge of Gymnasium environments: both conventions become one, and empty ones are refused."""

import functools

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from operant.environments import make
from operant.errors import OperantError
from operant.workers.masking import MaskObserved, legal, observed, refuse_empty
from operant.workers.spawning import dumped
from tests.worlds import Picky


class Seen(Picky):
    """The same, with the mask in the observation."""

    observation_space = Dict({"seen": Picky.observation_space, "action_mask": Box(0, 1, (4,), np.int8)})

    def reset(self, **arguments):
        observation, info = super().reset(**arguments)
        return {"seen": observation, "action_mask": info.pop("action_mask")}, info

    def step(self, action):
        observation, *outcome, info = super().step(action)
        mask = info.pop("action_mask", np.zeros(4, np.int8))
        return {"seen": observation, "action_mask": mask}, *outcome, info


class Pairs(Picky):
    """Two choices, of 3 and 2 actions, with a tuple of masks in the info and a Dict observed."""

    action_space = MultiDiscrete([3, 2])
    observation_space = Dict({"seen": Picky.observation_space})

    def reset(self, **arguments):
        observation, _ = super().reset(**arguments)
        return {"seen": observation}, {"action_mask": (np.array([1, 0, 1], np.int8), np.array([0, 1], np.int8))}

    def step(self, action):
        observation, *outcome, _ = super().step(1)
        return {"seen": observation}, *outcome, {}


def first(host, actions):
    return [host.reset(3), *(host.step(np.array(action)) for action in actions)]


def test_a_mask_in_the_info_is_observed_as_one_in_the_observation():
    there, here = make(Picky, 2, masks=True), make(Seen, 2, masks=True)
    assert list(there.observation_space.spaces) == ["action_mask", "observation"]
    a, b = there.reset(3), here.reset(3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.testing.assert_array_equal(a["observation"], b["seen"])
        np.testing.assert_array_equal(a["action_mask"], b["action_mask"])
        action = np.array([rng.choice(np.flatnonzero(mask)) for mask in a["action_mask"]])
        one, other = there.step(action), here.step(action)
        np.testing.assert_array_equal(one.terminated, other.terminated)
        np.testing.assert_array_equal(one.next_observation["action_mask"], other.next_observation["action_mask"])
        a, b = one.observation, other.observation
    there.close(), here.close()


def test_nothing_changes_for_who_did_not_ask_or_has_no_mask():
    assert make(Picky, 1).observation_space == Picky.observation_space
    assert make("CartPole-v1", 1, "gymnasium", masks=True).observation_space.shape == (4,)
    vector = SyncVectorEnv([Picky], autoreset_mode=AutoresetMode.SAME_STEP)
    assert make(vector, masks=True).observation_space == Picky.observation_space
    environment = Picky()
    assert make(environment, masks=True).vector.envs[0].unwrapped is environment  # the one instance, reset once to see


def test_masks_of_several_choices_are_joined():
    host = make(Pairs, 1, masks=True)
    np.testing.assert_array_equal(host.reset(0)["action_mask"], [[1, 0, 1, 0, 1]])
    assert set(host.observation_space.spaces) == {"seen", "action_mask"}
    with pytest.raises(OperantError, match="the info of a step has no action_mask"):
        host.step(np.array([[0, 1]]))


@pytest.mark.parametrize("world", [Picky, Seen])
def test_a_mask_that_allows_nothing_is_refused_unless_the_episode_is_over(world):
    for emptied in (0, 2):
        host = make(functools.partial(world, emptied=emptied), 2, masks=True)
        with pytest.raises(OperantError, match=r"^the action_mask of \w+ allows no action \(environment 0\)$"):
            first(host, [[1, 1], [1, 1]])
    host = make(functools.partial(world, length=2), 2, masks=True)
    last = first(host, [[1, 1], [1, 1]])[-1]  # a last observation has no mask, and nobody acts on it
    assert last.terminated.all() and not last.next_observation["action_mask"].any()
    assert last.observation["action_mask"].any(axis=1).all()


def test_one_choice_without_an_action_is_empty():
    mask = np.array([[1, 0, 0, 1, 0], [1, 1, 1, 0, 0]])
    refuse_empty({"action_mask": mask[:1]}, [3, 2], "it")
    with pytest.raises(OperantError, match="environment 1"):
        refuse_empty({"action_mask": mask}, [3, 2], "it")
    refuse_empty({"action_mask": mask}, [5], "it")
    np.testing.assert_array_equal(legal((mask[:, :3], mask[:, 3:])), mask.astype(bool))


def test_a_wrong_mask_is_told():
    class Short(Picky):
        def mask(self):
            return np.ones(3, np.int8)

    with pytest.raises(
        OperantError, match=r"^an action_mask of shape \(3,\) for 4 actions \(environment 0, at its reset\)$"
    ):
        make(Short, 1, masks=True).reset(0)


def test_the_recipe_can_be_sent_to_another_process():
    recipe = functools.partial(observed, Picky)
    assert dumped(recipe)
    assert isinstance(recipe(), MaskObserved) and isinstance(recipe().unwrapped, Picky)
