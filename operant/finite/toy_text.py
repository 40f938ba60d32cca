"""Gymnasium's environments that publish their dynamics as a table `P[state][action]`, as finite MDPs."""

from typing import Any

import numpy as np

from operant.finite.mdp import MDP
from operant.finite.validation import MDPError

# Blackjack publishes no table; `problems.blackjack` is its model. Versions are those of several Gymnasium releases.
IDS = (
    "CliffWalking-v1", "CliffWalkingSlippery-v1", "FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v3", "Taxi-v4",
)  # fmt: skip


def toy_text_names() -> list[str]:
    """The ids of `IDS` that the installed Gymnasium knows."""
    import gymnasium

    return [name for name in IDS if name in gymnasium.registry]


def from_gymnasium(name_or_env: Any, **kwargs: Any) -> MDP:
    """The MDP of an environment with a `P` table: an id, with arguments for `gymnasium.make`, or an environment.

    The dynamics are the table's, word for word: an episode ends where an outcome's `terminated` flag says so. A state
    that is entered by such outcomes only, and never starts an episode, is marked terminal. The time limit, which is
    no part of the dynamics, becomes `horizon`; `discount` is left to the solver. Raises `MDPError` where there is no
    table.
    """
    made = isinstance(name_or_env, str)
    if made:
        import gymnasium

        env = gymnasium.make(name_or_env, **kwargs)
    elif kwargs:
        raise MDPError("arguments are for an environment id; this environment is already made")
    else:
        env = name_or_env
    try:
        inner = env.unwrapped
        table = getattr(inner, "P", None)
        if table is None:
            raise MDPError(f"{name_or_env} publishes no table P of its dynamics, so it cannot be solved exactly")
        horizon = getattr(env.spec, "max_episode_steps", None)
        start = getattr(inner, "initial_state_distrib", None)
        return _from_table(table, start, horizon, **_names(inner, len(table)))
    finally:
        if made:
            env.close()


# What the actions do, by the class of the environment.
ACTIONS = {
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("down", "up", "right", "left", "pick up", "drop off"),
}


def _names(inner: Any, num_states: int) -> dict[str, Any]:
    """What people call states and actions, as far as the environment's class is known."""
    kind = type(inner).__name__
    named: dict[str, Any] = {"action_labels": ACTIONS.get(kind)}
    if kind == "TaxiEnv":
        places = ("red", "green", "yellow", "blue", "taxi")
        taken = (tuple(inner.decode(state)) for state in range(num_states))
        labels = [f"taxi {row},{column} from {places[at]} to {places[to]}" for row, column, at, to in taken]
        named["state_labels"] = labels
    shape = inner.desc.shape if kind == "FrozenLakeEnv" else inner.shape if kind == "CliffWalkingEnv" else None
    if shape is not None:
        named["cells"] = np.indices(shape).reshape(2, -1).T
    return named


def _from_table(table: Any, start: Any, horizon: int | None, **named: Any) -> MDP:
    num_states, num_actions = len(table), max(len(actions) for actions in table.values())
    entries = [
        (state, action, int(next_state), float(probability), float(reward), bool(terminated))
        for state, actions in table.items()
        for action, outcomes in actions.items()
        for probability, next_state, reward, terminated in outcomes
    ]
    states, actions, targets, chances, rewards, ends = (np.array(column) for column in zip(*entries, strict=True))
    entered, survived = np.zeros(num_states, dtype=bool), np.zeros(num_states, dtype=bool)
    entered[targets[ends & (chances > 0)]] = True
    survived[targets[~ends & (chances > 0)]] = True
    terminal = entered & ~survived
    if start is not None:
        start = np.asarray(start, dtype=float)
        terminal &= start == 0
    return MDP.from_triples(
        num_states, num_actions, states, actions, targets, chances, rewards, terminated=ends, terminal=terminal,
        start=start, horizon=horizon, **named,
    )  # fmt: skip
