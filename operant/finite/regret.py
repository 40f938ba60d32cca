"""The exact value of any policy or agent on a finite problem, whichever way it was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from operant.finite.collapse import Collapsed
from operant.finite.iteration import policy_evaluation
from operant.finite.mdp import start_of
from operant.finite.task import model_of
from operant.finite.validation import MDPError

if TYPE_CHECKING:
    from operant.finite.solution import Solution


def policy_of(agent: Any, problem: Any) -> np.ndarray:
    """The policy of an agent, asked for its greedy action in every state `[S]`; an array is a policy already."""
    if not hasattr(agent, "act"):
        return np.asarray(agent)
    size = getattr(agent.observation_space, "n", None)
    if size != problem.num_states:
        raise MDPError(f"the agent sees {agent.observation_space}, not the {problem.num_states} states of this problem")
    actions, _ = agent.act(np.arange(problem.num_states), agent.start(problem.num_states))
    return np.asarray(actions)


def value_of(solution: Solution, agent: Any) -> float:
    """What the agent's greedy policy earns from the start distribution, under the solution's own criterion."""
    problem, discount = solution.problem, solution.discount
    if solution.gain is not None:
        raise MDPError("regret is told for discounted and total reward, not for average reward")
    start = start_of(problem)
    model = model_of(problem)
    transitions, rewards, leaks = model.chosen(policy_of(agent, problem))
    if solution.values.ndim == 2:
        values = np.zeros(model.num_states)
        for _ in range(len(solution.policy)):
            values = rewards + discount * (transitions @ values)
        return float(start @ values)
    # Where the policy never goes it need not end, so those states are left out.
    reached = _reached(transitions, start)
    keep = sparse.diags_array((reached & ~model.terminal).astype(float))
    chain = Collapsed(
        model.num_states, 1, sparse.csr_array(keep @ transitions), np.where(reached, rewards, 0.0), leaks & reached,
        model.terminal | ~reached, model.reward_bound,
    )  # fmt: skip
    try:
        return float(start @ policy_evaluation(chain, np.zeros(len(start), dtype=int), discount).values)
    except MDPError:
        if discount < 1.0:
            raise
        return -np.inf


def _reached(transitions: sparse.csr_array, start: np.ndarray) -> np.ndarray:
    """bool `[S]`: the states that can be reached from `start`."""
    states = len(start)
    first = np.flatnonzero(start)
    edges = sparse.vstack([transitions, sparse.csr_array((np.ones(len(first)), first, [0, len(first)]), (1, states))])
    graph = sparse.csr_array(sparse.hstack([edges, sparse.csr_array((states + 1, 1))]))
    found = csgraph.breadth_first_order(graph, states, directed=True, return_predecessors=False)
    reached = np.zeros(states + 1, dtype=bool)
    reached[found] = True
    return reached[:-1]
