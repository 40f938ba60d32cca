"""docs/metrics.md names what runs write, no more and no less."""

import re
from pathlib import Path

import numpy as np
import pytest

from operant import catalogue
from operant.core.selection import told
from operant.core.statistics import Evaluation
from operant.errors import OperantError
from operant.running import driver_of

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
PLACES = ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1")  # one of them serves any algorithm
COMMON = {"episode_return", "episode_length"}


def section(title):
    """`{metric: second column}` of the table under a heading."""
    text = PAGE.partition(f"## {title}")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", text, re.MULTILINE))


def written(entry):
    """The metrics of an algorithm's rows, without running it."""
    for place in PLACES:
        try:
            return set(driver_of(entry.make(), place, 2, 1, "compiled", None, None).template().totals)
        except OperantError:
            continue
    return pytest.fail(f"none of {PLACES} serves {entry.name}")


def test_training_rows():
    assert set(section("Training")) == COMMON


def test_evaluation_rows():
    rows = {f"evaluation/{name}" for name in told(Evaluation(np.array([1.0]), np.array([2])))}
    assert set(section("Evaluation")) == rows


def test_learning_rows_of_every_algorithm():
    said = {metric: set(names.strip().split(", ")) for metric, names in section("Learning").items()}
    found: dict = {}
    for entry in catalogue.ENTRIES:
        names = written(entry)
        assert names >= COMMON
        for metric in names - COMMON:
            found.setdefault(metric, set()).add(entry.name)
    assert said == found, "docs/metrics.md lists what each algorithm writes"
