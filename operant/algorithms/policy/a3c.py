"""Asynchronous advantage actor-critic: actor-learners that update shared networks without waiting for one another.

Source: Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", algorithm S3 and section 4; V-trace
after Espeholt et al. 2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
section 4.

    each of N actor-learners, with environments of its own, until all together have made enough steps:
    1.    copy the shared networks; run the policy of the copy for T steps in each environment
    2.    R = 0 after a terminal state, V(s) of the state that follows the last step otherwise
    3.    for t from the last step back to the first:  R = r_t + discount R
    4.    d actor  = mean of  grad log pi(a_t|s_t) (R_t - V(s_t))  +  c_e grad entropy
          d critic = mean of  c_v grad (R_t - V(s_t))^2 / 2,  both of the copy
    5.    clip the gradient's global norm; update the shared networks by a step of RMSProp with shared mean squares

While an actor is at 1. to 4. others update: its gradient is stale by so many updates (the metric `staleness`). With
`correction="vtrace"` it copies the networks anew after 1., and 2. to 4. are for these: R and the advantages are
V-trace's, which weigh each step by how likely the newer policy takes the older one's action, at most 1.

`core/asynchronous/driver.py` runs the actors, `learn` is one of them alone. Steps 2 to 5 are `gradient` and `apply` of
`parts/policies/advantage.py`, which A2C has too.

Deviations from the paper: those of A2C (means instead of sums, windows that run on over the ends of episodes, separate
networks, rewards scaled by the spread of their returns); each actor has several environments, not one. Statistics of
rewards and observations are those of the actor that wrote last; V-trace copies both anew with the networks, so that the
newer policy sees the window's observations by newer statistics than those that they were acted on with.
"""

import math
from typing import Literal

from jax import Array

from operant.contracts import Context, Spec, Window
from operant.equations import vtrace
from operant.errors import OperantError
from operant.parts.component import check_range, component
from operant.parts.masks import action_mask
from operant.parts.networks.heads import flat_actions
from operant.parts.policies.actor_critic import State, Valued
from operant.parts.policies.advantage import AdvantageActorCritic


@component
class A3C(AdvantageActorCritic):
    num_actors: int = 2  # actor-learners: threads, or processes where environments are written in Python
    correction: Literal["none", "vtrace"] = "none"  # of the policy that acted being older than the one that learns

    def check(self, spec: Spec) -> None:
        super().check(spec)
        check_range(self, 1, math.inf, "num_actors")
        if self.correction not in ("none", "vtrace"):
            raise OperantError(f"unknown correction {self.correction!r}: known are none, vtrace")
        if self.off_policy and self.gae_lambda != 1.0:
            raise OperantError(f"V-trace has no lambda: gae_lambda must be 1, not {self.gae_lambda:g}")

    @property
    def off_policy(self) -> bool:
        """Whether the gradient is for newer networks than those that acted."""
        return self.correction == "vtrace"

    def judged(
        self, state: State, window: Window, features: Array, valued: Valued, context: Context
    ) -> tuple[Array, Array]:
        if not self.off_policy:
            return super().judged(state, window, features, valued, context)
        steps, spec, actor = window.steps, context.spec, state.policy.actor
        _, outputs, _ = actor.network.unroll(window.memory, features, steps.last)
        mask = action_mask(spec.observation_space, steps.observation)
        log_prob = actor.distribution(outputs, spec.action_space, mask).log_prob(
            flat_actions(spec.action_space, steps.action)
        )
        targets, advantages = vtrace(log_prob - steps.extras, *valued, steps.continues, steps.last, self.discount)
        return advantages, targets
