"""How sure a number is: paired hierarchical bootstrap over rollouts, never over windows or chunks.

Rollouts of one prompt and seed are paired across strategies (same truth, same noise), so pairs are what is resampled.
Scenarios are strata: each is resampled by itself and weighs by its number of rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 4000
LEVEL = 0.95


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
    NaN are left out. One group alone has no interval: it is the whole line.
    """
    there = np.isfinite(values)
    values, groups = values[there], groups[there]
    strata = np.zeros(len(values), int) if strata is None else strata[there]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    rng = np.random.Generator(np.random.Philox(key=[seed, len(values)]))
    sums, counts, total = np.zeros(DRAWS), np.zeros(DRAWS), 0
    for stratum in np.unique(strata):
        here = strata == stratum
        _, place = np.unique(groups[here], return_inverse=True)
        group_sums, group_counts = np.bincount(place, values[here]), np.bincount(place)
        size = len(group_sums)
        total += size
        # How often each group is drawn, instead of which ones are: one matrix product does the rest.
        drawn = rng.multinomial(size, np.full(size, 1 / size), DRAWS)
        sums += drawn @ group_sums
        counts += drawn @ group_counts
    mean = float(values.mean())
    if total == 1:
        return Interval(mean, -np.inf, np.inf, total)
    low, high = np.quantile(sums / counts, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high), total)


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b of two rankings."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)
