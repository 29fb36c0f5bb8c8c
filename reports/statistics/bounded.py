"""Intervals of means of bounded metrics: they stay inside the bounds, also where all values are equal.

A share (identity, recall, a film that is alive) often lies at a bound, because a rollout keeps its scene or loses it.
A bootstrap of such values is too narrow: for eight rollouts at 1.00 it gives 1.00 to 1.00. Shares therefore get the
Bayesian bootstrap (Rubin 1981) with half a rollout added at either bound. For values of 0 and 1 alone this is Jeffreys'
interval for a proportion (Brown, Cai and DasGupta 2001), and eight rollouts at 1.00 give 0.74 to 1.00.

All other means get Student's interval on a scale on which their bounds are infinite: the logit for two bounds, the
logarithm for one. Where all values are equal there is no spread to estimate from: with two bounds the half rollouts are
added as for shares, otherwise the interval has no width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from harness.suite import Metric
from reports.statistics.bootstrap import LEVEL, Interval

DRAWS = 4000
MOST = 4_000_000
"""Most numbers in a matrix of draws; for thousands of rollouts fewer draws are made than for dozens."""
HALF = 0.5
"""Rollouts that are added at either bound."""


@dataclass(frozen=True)
class Scale:
    """Range of a metric's values.

    Parameters
    ----------
    low, high
        Bounds of a value, infinite where there is none.
    share
        Whether rollouts may lie at either bound, as those of a share do.
    """

    low: float = -np.inf
    high: float = np.inf
    share: bool = False

    @property
    def bounded(self) -> bool:
        """Whether both bounds are finite."""
        return bool(np.isfinite(self.high - self.low))

    def differences(self) -> Scale:
        """Return the scale of the difference of two values."""
        span = self.high - self.low
        return Scale(-span, span) if np.isfinite(span) else Scale()


def scale_of(metric: Metric, horizon_seconds: float = np.inf) -> Scale:
    """Return the scale of a metric.

    Parameters
    ----------
    metric
        Its declared bounds count; a metric of unit "share" between 0 and 1 is a share, and so is the time that a
        rollout lasts, out of its horizon.
    horizon_seconds
        Length of the video, the upper bound of metrics that declare `until_horizon`.
    """
    low = -np.inf if metric.low is None else metric.low
    high = np.inf if metric.high is None else metric.high
    if metric.until_horizon:
        return Scale(low, horizon_seconds, share=bool(np.isfinite(horizon_seconds)))
    return Scale(low, high, share=metric.unit == "share" and (low, high) == (0, 1))


def means(values: np.ndarray, groups: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each column with the bounds of its 95 % interval.

    Parameters
    ----------
    values
        Finite numbers [n, columns]: one row a rollout, one column an arm (or a pair of arms, for differences).
    groups
        Label of each row [n]; rows with one label are one observation, for instance several prompts of one seed.
    scale
        The range of the values.

    Returns
    -------
    mean, low, high
        [columns] each; one group alone has an infinite interval, which means that there is none.
    """
    mean = values.mean(0)
    _, place = np.unique(groups, return_inverse=True)
    counts = np.bincount(place).astype(float)
    if len(counts) < 2:
        return mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    sums = values if len(counts) == len(values) else _by_group(values, place, len(counts))
    same = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(0)
    low, high = _student(mean, sums, counts, scale)
    low, high = np.where(same, mean, low), np.where(same, mean, high)
    drawn = np.ones_like(same) if scale.share else same
    if scale.bounded and drawn.any():
        low[drawn], high[drawn] = _bayesian(sums[:, drawn], counts, scale)
    # The half rollouts may shift the interval, which must still contain its mean.
    return mean, np.minimum(low, mean), np.maximum(high, mean)


def bounded_interval(values: np.ndarray, groups: np.ndarray, scale: Scale) -> Interval:
    """Return the mean of values [n] with its interval; values that are not finite are left out."""
    there = np.isfinite(values)
    if not there.any():
        return Interval(np.nan, np.nan, np.nan, 0)
    mean, low, high = means(values[there][:, None], groups[there], scale)
    return Interval(float(mean[0]), float(low[0]), float(high[0]), len(np.unique(groups[there])))


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, `count` of `of` observations (Wilson 1927)."""
    squared = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    share, whole = count / of, 1 + squared / of
    middle = (share + squared / (2 * of)) / whole
    reach = (squared * share * (1 - share) / of + (squared / (2 * of)) ** 2) ** 0.5 / whole
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _by_group(values: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, place, values)
    return sums


def _student(mean: np.ndarray, sums: np.ndarray, counts: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Return Student's interval on the scale with infinite bounds; groups are weighted by their size."""
    from scipy.stats import t

    number = len(counts)
    off = sums - mean * counts[:, None]
    error = np.sqrt(number / (number - 1) * (off**2).sum(0)) / counts.sum()
    reach = t.ppf((1 + LEVEL) / 2, number - 1) * error
    below, above = mean - scale.low, scale.high - mean
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if scale.bounded:
            odds, step = below / above, reach * (1 / below + 1 / above)
            ends = [odds * np.exp(sign * step) for sign in (-1, 1)]
            low, high = (scale.low + (scale.high - scale.low) * end / (1 + end) for end in ends)
            # Infinite odds correspond to the bound itself.
            return low, np.where(np.isinf(ends[1]), scale.high, high)
        if np.isfinite(scale.low):
            return scale.low + below * np.exp(-reach / below), scale.low + below * np.exp(reach / below)
        if np.isfinite(scale.high):
            return scale.high - above * np.exp(reach / above), scale.high - above * np.exp(-reach / above)
    return mean - reach, mean + reach


def _bayesian(sums: np.ndarray, counts: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles of means whose groups have random weights, with half a group at either bound."""
    weights, at_low, at_high = _weights(len(counts))
    size = counts.mean()
    whole = weights @ counts + size * (at_low + at_high)
    drawn = (weights @ sums + size * (at_low * scale.low + at_high * scale.high)[:, None]) / whole[:, None]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.clip(low, scale.low, scale.high), np.clip(high, scale.low, scale.high)


@lru_cache(maxsize=16)
def _weights(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights of this many groups [draws, count], and of the half groups at both bounds [draws] each."""
    rng = np.random.Generator(np.random.Philox(key=[0, count]))
    draws = int(np.clip(MOST // count, 500, DRAWS))
    return rng.gamma(1.0, 1.0, (draws, count)), rng.gamma(HALF, 1.0, draws), rng.gamma(HALF, 1.0, draws)
