"""Sutton & Barto's finite problems, sequence alignment, and mazes of any size."""

from operant.finite.problems.alignment import aligned, sequence_alignment
from operant.finite.problems.chance import blackjack, blackjack_state, car_rental, gambler
from operant.finite.problems.grids import cliff, gridworld_4x4, gridworld_5x5, windy_grid
from operant.finite.problems.mazes import cells_of_maze, dyna_maze, maze
from operant.finite.problems.samples import bandit_testbed, maximisation_bias, random_walk

__all__ = [
    "aligned",
    "bandit_testbed",
    "blackjack",
    "blackjack_state",
    "car_rental",
    "cells_of_maze",
    "cliff",
    "dyna_maze",
    "gambler",
    "gridworld_4x4",
    "gridworld_5x5",
    "maximisation_bias",
    "maze",
    "random_walk",
    "sequence_alignment",
    "windy_grid",
]
