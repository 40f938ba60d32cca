"""Datasets by the names that users give them; Minari's are in test_from_minari.py."""

import gymnasium
import numpy as np
import pytest

from operant.core.data.datasets import Dataset
from operant.core.data.sources import find
from operant.errors import OperantError


def test_a_folder_is_loaded(tmp_path):
    seen, rows = np.arange(3, dtype=np.int32), 3
    flags = np.zeros(rows, bool)
    data = Dataset(
        gymnasium.spaces.Discrete(4), gymnasium.spaces.Discrete(2), seen, np.ones(rows, np.int32),
        np.ones(rows, np.float32), flags, np.array([False, False, True]), seen + 1,
    )  # fmt: skip
    data.save(tmp_path / "data")
    for named in (tmp_path / "data", str(tmp_path / "data")):
        assert find(named).digest() == data.digest()


def test_what_is_no_name_is_refused_in_one_line(tmp_path):
    with pytest.raises(OperantError, match="named by its folder, or minari:ID, not ndarray"):
        find(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(OperantError, match="nothing") as refused:
        find(tmp_path / "nothing")
    assert "\n" not in str(refused.value)
