"""Advantage actor-critic: the synchronous form of A3C.

Source: Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", algorithm S3 and section 4; one
gradient of all environments together after its authors' successors (Wu et al. 2017, section 5).

    for each iteration:
    1.    run the policy for T steps in each of N environments
    2.    R = 0 after a terminal state, V(s) of the state that follows the last step otherwise
    3.    for t from the last step back to the first:  R = r_t + discount R
    4.    d actor  = mean of  grad log pi(a_t|s_t) (R_t - V(s_t))  +  c_e grad entropy
          d critic = mean of  c_v grad (R_t - V(s_t))^2 / 2
    5.    clip the gradient's global norm and take a step of RMSProp

R_t - V(s_t) is the generalised advantage estimate with lambda = 1 (the paper's, and the default): step t looks ahead to
the end of the window, at most T steps. With T = 1 it is the one-step actor-critic (Sutton & Barto 2018, 13.5) of many
environments, `actor-critic` in the catalogue.

Deviations from the paper: means over steps and environments instead of sums; a window runs on over the ends of
episodes, where R starts anew (from V of the true final observation where the episode was truncated); actor and critic
are separate networks, their gradient's norm is bounded; RMSProp starts from zero moments; rewards are scaled by the
spread of their returns, for otherwise the critic's errors fill the bound on the norm; states are not weighted by
discount^t. Advantages are not normalised. A network with memory is trained by back-propagation through the whole
window.

Steps 2 to 5 are `gradient` and `apply` of `parts/policies/advantage.py`, which A3C has too.
"""

from operant.parts.component import component
from operant.parts.policies.advantage import AdvantageActorCritic


@component
class A2C(AdvantageActorCritic):
    """`AdvantageActorCritic` itself, with its fields."""
