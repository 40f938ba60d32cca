"""One file for an MDP: its arrays as safetensors, everything else as JSON in the header. Nothing is unpickled."""

import json
from pathlib import Path
from typing import Any

from operant.errors import CheckpointError

FORMAT = "operant-mdp-1"
ARRAYS = ("offsets", "probabilities", "next_states", "rewards", "terminated", "terminal")
OPTIONAL = ("start", "cells")
PLAIN = ("num_states", "num_actions", "discount", "horizon", "state_labels", "action_labels")


def save(mdp: Any, path: str | Path) -> None:
    """Write an `MDP` to `path`."""
    from safetensors.numpy import save_file

    tensors = {name: getattr(mdp, name) for name in ARRAYS}
    tensors |= {name: getattr(mdp, name) for name in OPTIONAL if getattr(mdp, name) is not None}
    plain = {name: getattr(mdp, name) for name in PLAIN}
    save_file(tensors, str(path), metadata={"format": FORMAT, "mdp": json.dumps(plain)})


def load(path: str | Path) -> dict[str, Any]:
    """The fields of the MDP in `path`. Raises `CheckpointError` where it is missing or is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a finite MDP saved by this library")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            plain = json.loads(metadata["mdp"])
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read as a finite MDP: {error}") from error
    missing = set(ARRAYS) - set(tensors)
    if missing or set(plain) != set(PLAIN):
        raise CheckpointError(f"{path} lacks {sorted(missing | (set(PLAIN) ^ set(plain)))}")
    return {**tensors, **plain}
