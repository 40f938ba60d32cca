"""Deep Q-networks: Q-learning with a neural network, experience replay and a target network.

Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.

    for each iteration:
    1.    act by the exploration rule for T steps in each environment and put the transitions into the replay
    2.    once more than `warmup` environment steps have passed, `num_updates` times:
    3.        draw a minibatch (s, a, r, s') from the replay
    4.        y = r + discount max_a' Q_target(s', a'),  or r alone where s' is terminal
    5.        descend the squared (or Huber) loss of y - Q(s, a)
    6.    every `target_every` environment steps copy the online network to the target

4. and 5. are `parts.values.mean_q`, shared with CQL; the rest is shared with all relatives (`parts.values.deep_q`).
What 4. takes of the next state is the `bootstrap`: the maximum, double Q-learning or Munchausen. Returns of `n_step`
steps, a `Prioritised` replay, and `Dueling` and `Noisy` networks are values of fields.

Deviations from the paper: the squared loss instead of clipped errors by default, because rewards are not clipped
either (with values near 100 a threshold of 1 regresses to the median, and with these settings the rare terminal steps
were forgotten: docs/architecture.md); Adam instead of RMSProp by default; epsilon follows training progress, and the
replay is first filled by the exploration rule; a truncated episode bootstraps from its true final observation. Returns
of several steps are not corrected for the policy that acted.
"""

from operant.parts.component import component
from operant.parts.values.mean_q import MeanQ


@component
class DQN(MeanQ):
    """`MeanQ` itself; the fields are its own and those of `parts.values.replay_q`."""
