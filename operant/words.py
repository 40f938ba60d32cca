"""Answers to other libraries' words, and what our own words mean.

Whoever comes from another library types its words first; the answer is ours, not a list of everything.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from operant.errors import OperantError
from operant.synonyms import ADVICE, WORDS

P = ParamSpec("P")
R = TypeVar("R")

# What a field means where its own file does not say.
MEANINGS = {
    "learning_rate": "step size of the optimiser; may follow a schedule",
    "critic_learning_rate": "step size of the critic's optimiser; may follow a schedule",
    "discount": "what a reward one step later is worth now, in [0, 1]",
    "gae_lambda": "generalised advantage estimation: 0 is one-step TD, 1 is the Monte-Carlo return",
    "clip": "how far the probability ratio may leave 1; none: as far as it likes",
    "critic": "a network of its own, or a second head on the actor's",
    "log_std": "the spread of continuous actions: one for all states, or an output of the network",
    "entropy_coefficient": "weight of the entropy bonus",
    "value_coefficient": "weight of the critic's loss",
    "max_gradient_norm": "gradients are scaled down to this global norm",
    "damping": "added to the diagonal of the Fisher matrix",
    "target_kl": "leave a window's remaining updates once the policy has moved this far",
    "num_steps": "steps of each environment in one window",
    "num_epochs": "passes over each window",
    "num_minibatches": "equal parts that a pass cuts the window into",
    "normalise": "what is scaled by running statistics",
    "network": "the kind of network",
    "optimiser": "the kind of optimiser",
    "exploration": "the rule that chooses actions while training",
    "replay": "the kind of replay",
    "bootstrap": "how the next state's value is taken",
    "rescale": "learn the values on a scale on which large ones are small",
    "burn_in": "steps before a sequence that only warm the memory",
    "n_step": "rewards in a return before it bootstraps",
    "target_every": "environment steps between copies to the target network",
    "warmup": "environment steps before the first update",
    "num_updates": "gradient steps after each window",
    "batch_size": "transitions in a minibatch, or sequences",
    "huber_threshold": "errors beyond it count linearly",
    "conservative_weight": "how much actions that the data do not show are held down",
    "baseline": "subtract the other episodes' mean return",
    "epsilon": "probability of a uniformly random action",
    "storage": "how the replay keeps its rows",
    "stack": "frames in an observation",
    "capacity": "transitions that the replay holds, or sequences",
    "beta": "how far importance weights correct the bias of priorities; may follow a schedule",
    "num_atoms": "points that carry the distribution of the return",
    "v_min": "lowest return that the distribution can hold",
    "v_max": "highest return that the distribution can hold",
    "num_quantiles": "quantiles of the return",
    "body": "the network that is wrapped",
    "trace_decay": "0 is the one-step target, 1 the whole return",
    "sigma": "initial scale of the noise in the weights",
    "temperature": "how soft the policy is",
    "lowest": "the bonus is not below it",
    "hidden": "widths of the fully connected layers",
    "activation": "tanh, relu, elu, gelu or silu",
    "initial_value": "what every entry of the table starts with; a high one makes greedy learners explore",
    "traces": "accumulating, replacing or dutch",
    "planning_steps": "updates from the model after each step",
    "threshold": "errors up to it are not worth planning for",
    "visits": "count the first visit of an episode, or every one",
    "exploring_starts": "the first action of an episode is drawn uniformly",
    "weighting": "ratios are divided by their own sum (weighted) or by their number (ordinary)",
    "tiles": "the tilings of the observations",
    "num_tilings": "overlapping grids",
    "bins": "cells of a grid along each dimension",
    "memory": "hash the cells into so many features",
    "width": "how far the upper confidence bound reaches above the value",
    "policy": "the policy that is judged, as a table of probabilities",
    "probabilities": "one row a state, one number an action; none: every action alike",
    "power": "how fast the learning rate falls with visits",
    "initialisation": "orthogonal or uniform",
}


def unknown_word(
    kind: str, word: str, known: Iterable[str], show: Callable[[str], str] = repr, advice: str = ""
) -> OperantError:
    """The error for `word`, which is none of `known`: our word for it, the nearest one, or `advice`.

    `show` writes a name as the user would type it.
    """
    plain, known = word.replace("-", "_"), list(known)
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    for ours in WORDS.get(plain, "").split():
        part, _, field = ours.partition(".")
        if ours in known:
            meant = f"Operant calls it {show(ours)}"
            break
        if field and part in known and not any(name.startswith(part + ".") for name in known):
            meant = f"it is the {field} of {show(part)}"
            break
    else:
        meant = ADVICE.get(plain) or (f"did you mean {show(near[0])}?" if near else advice)
    return OperantError(f"unknown {kind} {show(word)}: {meant or 'known: ' + ', '.join(map(show, sorted(known)))}")


def unknown_name(owner: str, name: str, known: Iterable[str], table: Mapping[str, str]) -> AttributeError:
    """The error for an attribute `name` that `owner` lacks, with what to write instead where `table` knows it."""
    near = [] if name.startswith("_") else difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    meant = f": write {table[name]}" if name in table else f": did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{owner} has no attribute {name!r}{meant}")


def answers_words(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which meets an unknown keyword with an `OperantError` that has our word for it."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]
    owner = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def answering(*arguments: P.args, **keywords: P.kwargs) -> R:
        for word in keywords:
            if word not in known:
                raise unknown_word(f"argument of {owner}", word, known)
        return function(*arguments, **keywords)

    return answering
