"""Statistics of evaluations: means that say how sure they are.

The interquartile mean and bootstrap intervals follow Agarwal et al., "Deep Reinforcement Learning at the Edge of
the Statistical Precipice" (2021), section 4.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2_000  # the ends' own Monte-Carlo error is some 3 % of the interval's half-width


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Finished episodes: their undiscounted returns and their lengths in steps, both `[episodes]`.

    No episode (none ended in time) makes every statistic NaN, and None in JSON.
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def episodes(self) -> int:
        return len(self.returns)

    @property
    def mean(self) -> float:
        return self._summary[0]

    @property
    def iqm(self) -> float:
        """The interquartile mean, which single extreme episodes do not move."""
        return self._summary[1]

    @property
    def low(self) -> float:
        """The lower end of the 95 % bootstrap interval of the mean."""
        return self._summary[2]

    @property
    def high(self) -> float:
        return self._summary[3]

    def _repr_html_(self) -> str:
        from operant.core.showing.notebook import table

        interval = f"{self.low:.1f} to {self.high:.1f}"
        header = ("episodes", "mean return", "IQM", "95 % interval")
        return table([(self.episodes, f"{self.mean:.1f}", f"{self.iqm:.1f}", interval)], header)

    def to_json(self) -> dict[str, int | float | None]:
        """`episodes, mean, iqm, low, high`, in plain JSON types."""
        words = ("mean", "iqm", "low", "high")
        plain = [value if math.isfinite(value) else None for value in self._summary]
        return {"episodes": self.episodes, **dict(zip(words, plain, strict=True))}

    @functools.cached_property
    def _summary(self) -> tuple[float, float, float, float]:
        return interval_over_seeds(self.returns)


def interval_over_seeds(per_seed_means: Sequence[float] | np.ndarray) -> tuple[float, float, float, float]:
    """`(mean, iqm, low, high)` of one number a seed, `[seeds]`; the interval is `bootstrap_interval`'s."""
    values = np.asarray(per_seed_means, np.float64)
    low, high = bootstrap_interval(values)
    return float(_mean(values)), interquartile_mean(values), float(low), float(high)


def interquartile_mean(values: np.ndarray) -> float:
    """The mean of `values [n]` without the ⌊n/4⌋ smallest and largest; NaN where one is not finite or n is 0."""
    from scipy.stats import trim_mean  # half a second to import

    return float(trim_mean(values, 0.25)) if len(values) and np.isfinite(values).all() else math.nan


def bootstrap_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % percentile bootstrap interval of the mean of `values [n, ...]` over the first axis: two `[...]`.

    The same values always give the same interval. Where all are equal, or n is 1, both ends are the mean; where
    one is not finite, or n is 0, they are NaN. With fewer than about ten values it is too narrow.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, np.float64)
    mean = _mean(values)
    low = np.where(np.isfinite(mean), mean, math.nan)
    high = low.copy()
    varied = np.isfinite(low) & (values != values[:1]).any(axis=0)
    if varied.any():
        result = bootstrap(
            (values[:, varied] if values.ndim > 1 else values,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, 2**22 // values.size),  # bounds the memory, and changes nothing else
            axis=0,
            method="percentile",
            rng=np.random.default_rng(0),
        )
        low[varied], high[varied] = result.confidence_interval
    return low, high


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis; NaN without a warning where there is nothing to average."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return np.sum(values, axis=0) / np.float64(len(values))
