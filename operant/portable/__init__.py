"""Policies without JAX: what `agent.to_numpy` makes and `load_numpy` reads, run by NumPy alone.

Nothing here, nor anything that it imports, loads JAX, equinox, gymnax or Gymnasium; none of them needs to be installed.
"""
