"""Replays: how rows are kept, how they are drawn, and what a row is."""

from operant.parts.replay.frames import Frames
from operant.parts.replay.prioritised import Prioritised
from operant.parts.replay.storage import Whole
from operant.parts.replay.uniform import Draw, Replay, Uniform

__all__ = ["Draw", "Frames", "Prioritised", "Replay", "Uniform", "Whole"]
