"""How sure a number is: paired hierarchical bootstrap over rollouts, never over windows or chunks.

Rollouts of one prompt and seed are paired across strategies (same truth, same noise), so pairs are what is resampled.
Scenarios are strata: each is resampled by itself and weighs by its number of rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 4000
LEVEL = 0.95
FEW = 10
"""Groups below which a bootstrap would be too sure: their mean is given Student's interval instead."""


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval, and how many rollouts it is of."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def interval(values: np.ndarray, groups: np.ndarray, strata: np.ndarray | None = None, seed: int = 0) -> Interval:
    """Mean of values [n] with a percentile bootstrap interval.

    groups: what is drawn together, one label a value (the prompt and seed, so that several scores of one rollout do not
    pass for several rollouts). strata: labels within which groups are drawn. For differences give paired differences.
    NaN are left out. Fewer groups than `FEW` are given Student's interval; one alone has none: it is the whole line.
    """
    there = np.isfinite(values)
    values, groups = values[there], groups[there]
    strata = np.zeros(len(values), int) if strata is None else strata[there]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    sums, counts, total = np.zeros(DRAWS), np.zeros(DRAWS), 0
    parts = []
    for stratum in np.unique(strata):
        here = strata == stratum
        _, place = np.unique(groups[here], return_inverse=True)
        parts.append((np.bincount(place, values[here]), np.bincount(place)))
    sizes = tuple(len(group_sums) for group_sums, _ in parts)
    for (group_sums, group_counts), drawn in zip(parts, _drawn(seed, len(values), sizes), strict=True):
        total += len(group_sums)
        sums += drawn @ group_sums
        counts += drawn @ group_counts
    mean = float(values.mean())
    if total == 1:
        return Interval(mean, -np.inf, np.inf, total)
    if total < FEW and len(parts) == 1:
        low, high = _student(parts[0][0] / parts[0][1])
        return Interval(mean, low, high, total)
    low, high = np.quantile(sums / counts, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high), total)


def _student(means: np.ndarray) -> tuple[float, float]:
    from scipy.stats import t

    middle, half = means.mean(), t.ppf((1 + LEVEL) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(middle - half), float(middle + half)


@lru_cache(maxsize=64)
def _drawn(seed: int, count: int, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """How often each group of each stratum is drawn, [DRAWS, groups]: one matrix product does the rest. A report asks
    for the same few again and again."""
    rng = np.random.Generator(np.random.Philox(key=[seed, count]))
    return [rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float) for size in sizes]


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b of two rankings."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)
