"""The figures of Sutton & Barto, "Reinforcement Learning: An Introduction" (2nd edition, 2018), computed anew.

    python -m book [FIGURE ...] [--folder docs/book]

Every figure is a picture; most have numbers that must lie in intervals around what is published or computed exactly.
"""
