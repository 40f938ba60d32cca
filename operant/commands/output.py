"""What the commands print: JSON for programs on standard output, everything else on standard error."""

import json
from typing import Any

from rich.console import Console


def console() -> Console:
    """Standard error as it is now, for people."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False), flush=True)
