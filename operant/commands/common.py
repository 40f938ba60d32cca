"""Flags that several commands share."""

from operant.kinds import Kind, choice, whole
from operant.parsing import Flag

SWITCHES = ("json", "no_gif")
JSON = Flag("json", None, False, "print one JSON object on standard output")
EPISODES = Flag("episodes", whole(1, 1_000_000), 100, "episodes of the evaluation, for each seed")
SEED = whole(0, 2**31 - 1)
STEPS = whole(1, 10**15)
BACKENDS = choice("auto", "compiled", "gymnasium")
NO_GIF = Flag("no_gif", None, False, "leave out episode.gif")
ENVIRONMENT = Flag("environment", Kind("ID", str, lambda value: value or "the run's own"), None,
                   "another environment; needed where the run was on your own")  # fmt: skip
WHICH = Flag("which", choice("last", "best"), "last", "the last policy, or the one of the best evaluation in training")
DATASET = Kind("DIR", str, lambda value: value or "none")
DEVICE = Flag("device", choice("auto", "cpu", "gpu"), "auto", "where to compute")
PROGRESS = Flag("progress", choice("auto", "plain", "none"), "auto", "a live line, plain lines, or nothing")
DIRECTORY = (("directory", "the run's folder"),)
