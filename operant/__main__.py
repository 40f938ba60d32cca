"""`python -m operant`, where the script `operant` is not on the path."""

import sys

from operant.cli import main

if __name__ == "__main__":
    sys.exit(main())
