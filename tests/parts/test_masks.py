"""Action masks: illegal actions have probability zero, in acting, in entropies and in gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from scipy.special import log_softmax

from operant.contracts import Spec, Step, Window
from operant.errors import OperantError
from operant.parts.encoders import encode, features_shape
from operant.parts.masks import action_mask, masked, stuck
from operant.parts.networks.heads import check_actions, discrete

SEEN = Box(-np.inf, np.inf, (3,))
MASK = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool)  # of choices of 3 and 2 actions
SPACE = MultiDiscrete([3, 2])


def loud(seed=0, size=5):
    return jnp.float32(8.0 * np.random.default_rng(seed).normal(size=(3, size)))


@functools.partial(jax.jit, static_argnames="space")
def told(logits, mask, space=None):
    distribution = discrete(masked(logits, mask), SPACE)
    return [choice.probs for choice in distribution.choices], distribution.entropy()


def test_probabilities_and_entropies_are_those_of_the_legal_actions_alone():
    logits = loud()
    probs, entropy = told(logits, jnp.asarray(MASK))
    for row in range(3):
        expected = 0.0
        for part, (start, stop) in zip(probs, ((0, 3), (3, 5)), strict=True):
            allowed = np.flatnonzero(MASK[row, start:stop])
            log_probs = log_softmax(np.asarray(logits, np.float64)[row, start:stop][allowed])
            expected -= np.sum(np.exp(log_probs) * log_probs)
            np.testing.assert_allclose(np.asarray(part)[row][allowed], np.exp(log_probs), rtol=1e-5)
            assert np.all(np.delete(np.asarray(part)[row], allowed) == 0.0)
        np.testing.assert_allclose(entropy[row], expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_finite_and_do_not_reach_illegal_actions():
    def loss(logits):
        distribution = discrete(masked(logits, jnp.asarray(MASK)), SPACE)
        action = jnp.array([[2, 0], [1, 1], [0, 1]])
        return jnp.sum(distribution.log_prob(action) + 0.1 * distribution.entropy())

    for scale in (1.0, 1e4):
        gradient = np.asarray(jax.jit(jax.grad(loss))(scale * loud()))
        assert np.isfinite(gradient).all() and np.all(gradient[~MASK] == 0.0)
    gradient = np.asarray(jax.jit(jax.grad(loss))(loud()))
    assert (np.abs(gradient[MASK]) > 1e-6).sum() > 4
    second = np.asarray(jax.jit(jax.hessian(loss))(loud()))
    assert np.isfinite(second).all()


def test_an_illegal_action_is_never_sampled_nor_greedy():
    logits = loud().at[:, 1].set(80.0)  # what the unmasked policy would nearly always take
    many = jnp.broadcast_to(masked(logits, jnp.asarray(MASK)), (100_000, *MASK.shape))
    actions = np.asarray(jax.jit(lambda logits, key: discrete(logits, SPACE).sample(key))(many, jax.random.key(0)))
    for row in range(3):
        for choice, start in ((0, 0), (1, 3)):
            counts = np.bincount(actions[:, row, choice], minlength=3 - choice)
            assert np.all(counts[~MASK[row, start : start + 3 - choice]] == 0)
    assert (actions[:, 1:, 0] == 1).mean() > 0.99
    mode = np.asarray(discrete(masked(logits, jnp.asarray(MASK)), SPACE).mode())
    assert mode[0, 0] != 1 and mode[1, 0] == 1
    assert all(MASK[row, mode[row, 0]] and MASK[row, 3 + mode[row, 1]] for row in range(3))


def test_both_forms_of_a_mask_and_none():
    tuple_space = Dict({"observation": SEEN, "action_mask": Tuple([MultiBinary(3), MultiBinary(2)])})
    flat_space = Dict({"observation": SEEN, "action_mask": Box(0, 1, (5,), np.int8)})
    seen = np.zeros((3, 3), np.float32)
    parts = (MASK[:, :3].astype(np.int8), MASK[:, 3:].astype(np.int8))
    for space, mask in ((tuple_space, parts), (flat_space, MASK.astype(np.int8))):
        check_actions(Spec(space, SPACE, 1))
        found = action_mask(space, {"observation": seen, "action_mask": mask})
        assert found is not None and found.dtype == bool
        np.testing.assert_array_equal(found, MASK)
    assert action_mask(SEEN, seen) is None


def test_a_mask_is_no_feature():
    image, mask = Box(0, 255, (4, 4, 2), np.uint8), MultiBinary(4)
    assert features_shape(Dict({"observation": image, "action_mask": mask})) == (4, 4, 2)
    assert features_shape(Dict({"a": SEEN, "b": Discrete(4), "action_mask": mask})) == (7,)
    assert features_shape(Dict({"a": SEEN})) == (3,)
    space = Dict({"a": SEEN, "action_mask": mask})
    features = encode(space, {"a": jnp.arange(3.0), "action_mask": jnp.ones(4, jnp.int8)})
    np.testing.assert_array_equal(features, [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (Dict({"a": SEEN, "action_mask": MultiBinary(5)}), Discrete(4), r"shape \(5,\), for \[4\] actions"),
        (Dict({"a": SEEN, "action_mask": MultiBinary(4)}), MultiDiscrete([3, 2]), r"shape \(4,\), for \[3, 2\]"),
        (Dict({"a": SEEN, "action_mask": MultiBinary(2)}), Box(-1, 1, (2,)), "not Box"),
        (Dict({"action_mask": MultiBinary(4)}), Discrete(4), "nothing is observed beside"),
    ],
)
def test_masks_that_do_not_fit_are_refused(observation, action, words):
    with pytest.raises(OperantError, match=words):
        check_actions(Spec(observation, action, 1))


def test_a_choice_without_an_action_is_seen_where_it_counts():
    space = Dict({"a": SEEN, "action_mask": MultiBinary(5)})
    spec = Spec(space, SPACE, 2)

    def window(rows, valid=None):
        observation = {"a": jnp.zeros((2, 2, 3)), "action_mask": jnp.asarray(rows, jnp.int8).reshape(2, 2, 5)}
        steps = Step(observation, *[()] * 6)
        return Window(steps, (), (), (), valid)

    good, bad = [1, 0, 0, 0, 1], [1, 1, 1, 0, 0]  # the second choice has nothing left
    assert not stuck(spec, window([good] * 4))
    assert stuck(spec, window([good, good, bad, good]))
    valid = jnp.array([[True, True], [False, True]])
    assert not stuck(spec, window([good, good, bad, good], valid))
    assert stuck(spec, window([good, good, good, bad], valid))
