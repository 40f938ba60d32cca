import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from operant.core.statistics import Evaluation, bootstrap_interval, interquartile_mean, interval_over_seeds


def evaluation(returns) -> Evaluation:
    return Evaluation(np.asarray(returns, np.float64), np.ones(len(returns), int))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 100, 101])
def test_the_interquartile_mean_is_the_mean_of_the_middle_half(count):
    values = np.random.default_rng(count).standard_cauchy(count)
    cut = count // 4
    np.testing.assert_allclose(interquartile_mean(values), np.mean(np.sort(values)[cut : count - cut]), rtol=1e-12)


def test_extremes_move_the_mean_and_not_the_interquartile_mean():
    calm, wild = (evaluation([*np.arange(20.0), extreme]) for extreme in (20.0, 1e6))
    assert calm.iqm == wild.iqm
    assert wild.mean > 1000 * calm.mean


def test_the_interval_covers_the_mean_as_often_as_it_says():
    # The percentile interval of n normal values is close to mean ± 1.96 sqrt((n - 1) / n) s / sqrt(n), which by
    # Student's distribution covers slightly less than 95 %; the rest is the spread of a binomial of 300.
    count, repetitions = 100, 300
    expected = 2 * stats.t.cdf(stats.norm.ppf(0.975) * math.sqrt((count - 1) / count), count - 1) - 1
    samples = np.random.default_rng(0).normal(3.0, 2.0, (repetitions, count))
    covered = np.mean([low <= 3.0 <= high for low, high in map(bootstrap_interval, samples)])
    assert 0.945 < expected < 0.95
    assert abs(covered - expected) < 3 * math.sqrt(expected * (1 - expected) / repetitions)


def test_the_interval_has_the_width_of_the_standard_error():
    values = np.random.default_rng(1).normal(size=1000)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    # Each end is a quantile of 2000 resamples: sd sqrt(0.025 * 0.975 / 2000) / pdf(1.96) = 0.06 standard errors.
    assert abs(low - (values.mean() - half)) < 3 * 0.06 * half / 1.96
    assert abs(high - (values.mean() + half)) < 3 * 0.06 * half / 1.96


def test_the_interval_is_reproducible_whatever_the_memory_bound():
    values = np.random.default_rng(2).normal(size=3000)  # more than one batch
    whole = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert evaluation(values).low == evaluation(values).low == whole.low
    assert evaluation(values).high == whole.high


def test_one_episode_or_equal_ones_have_a_degenerate_interval():
    for returns in ([3.5], [2.0, 2.0, 2.0]):
        result = evaluation(returns)
        assert result.mean == result.iqm == result.low == result.high == returns[0]


def test_no_episode_and_not_a_number_are_different_and_neither_warns():
    none, diverged = evaluation([]), evaluation([1.0, math.nan])
    assert (none.episodes, diverged.episodes) == (0, 2)
    for result in (none, diverged, evaluation([math.inf, -math.inf, 1.0])):
        assert all(math.isnan(value) for value in (result.mean, result.iqm, result.low, result.high))
        assert [result.to_json()[word] for word in ("mean", "iqm", "low", "high")] == [None] * 4


def test_to_json_is_plain():
    result = evaluation(np.arange(10, dtype=np.float32))
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain == {"episodes": 10, "mean": 4.5, "iqm": 4.5, "low": result.low, "high": result.high}
    assert list(plain) == ["episodes", "mean", "iqm", "low", "high"]
    assert result.low < 4.5 < result.high


def test_an_evaluation_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation([1.0]).returns = np.zeros(1)


def test_the_interval_over_seeds_is_that_of_their_means():
    means = [10.0, 12.0, 9.0, 30.0]
    mean, iqm, low, high = interval_over_seeds(means)
    assert (mean, iqm) == (15.25, 11.0)
    assert (low, high) == bootstrap_interval(np.array(means))
    assert min(means) <= low < mean < high <= max(means)


def test_columns_are_treated_alone():
    columns = np.random.default_rng(3).normal(size=(6, 4))
    columns[:, 1] = 7.0
    columns[2, 2] = math.nan
    low, high = bootstrap_interval(columns)
    assert low[1] == high[1] == 7.0
    assert math.isnan(low[2]) and math.isnan(high[2])
    for column in (0, 3):
        assert columns[:, column].min() < low[column] < columns[:, column].mean() < high[column]
    assert [end.shape for end in bootstrap_interval(np.zeros((0, 3)))] == [(3,), (3,)]


def test_scipy_stats_is_not_imported_before_it_is_needed():
    program = "import operant.core.statistics, sys; print('scipy.stats' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
