"""The commands, one a file: `main(argv)` reads the arguments and returns the exit code.

What needs JAX is imported inside `main`, so that help and mistakes are quick. People read standard error, programs
standard output.
"""
