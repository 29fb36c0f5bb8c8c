"""Uncertainty of a mean: paired hierarchical bootstrap over rollouts, never over windows or chunks.

Rollouts of one prompt and seed are paired across strategies (same truth, same noise), so pairs are resampled. Scenarios
are strata: each is resampled by itself and weighted by its number of rollouts. Processes contain rollouts; where there
are several, processes are drawn first, then rollouts within each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

DRAWS = 4000
LEVEL = 0.95
FEW = 10
"""Number of groups below which a bootstrap interval would be too narrow; their mean gets Student's interval instead."""


TRIM = 0.2
"""Share of the launches that is trimmed off at either end."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, and the number of rollouts (or processes, where there are several) behind it.

    p: of Student's test that the mean is zero, two-sided; NaN where nothing was tested.
    """

    mean: float
    low: float
    high: float
    count: int
    p: float = np.nan

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def interval(values: np.ndarray, groups: np.ndarray, strata: np.ndarray | None = None, seed: int = 0) -> Interval:
    """Return the mean of values [n] with a percentile bootstrap interval.

    groups: one label a value; values with one label are drawn together (the prompt and seed, so that several scores of
    one rollout do not count as several rollouts). strata: labels within which groups are drawn. For differences give
    paired differences. NaN are left out. Fewer groups than `FEW` get Student's interval; a single one gets an infinite
    interval.
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


def change(differences: np.ndarray, groups: np.ndarray, processes: np.ndarray, seed: int = 0) -> Interval:
    """Return the mean of paired differences [n], with its interval and test.

    groups: prompt and seed of each. processes: launch of each. With one launch, rollouts are drawn and tested. With
    several, launches are the observations: a fifth of them is trimmed off at either end (Yuen, 1974), since other work
    on a machine disturbs single launches; where there are many launches with several rollouts each, launches are drawn
    first and rollouts within them. Differences that are all equal have an interval of no width, and p is 0 or 1.
    """
    there = np.isfinite(differences)
    differences, groups, processes = differences[there], groups[there], processes[there]
    launches = np.unique(processes)
    if len(launches) < 2:
        found = interval(differences, groups, seed=seed)
        return replace(found, p=_student_p(_means(differences, groups)))
    found = _trimmed(_means(differences, processes))
    if len(launches) >= FEW and len(differences) > len(launches):
        inside = [_means(differences[processes == each], groups[processes == each]) for each in launches]
        low, high = _nested(inside, seed)
        found = Interval(float(np.mean([each.mean() for each in inside])), low, high, found.count, found.p)
    return found


def apart(values: np.ndarray, others: np.ndarray) -> Interval:
    """Return the mean of `values` minus that of `others` by Welch's test, for repeats not measured in turn."""
    from scipy.stats import ttest_ind

    values, others = (x[np.isfinite(x)] for x in (values, others))
    few = min(len(values), len(others))
    if few == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    off = float(values.mean() - others.mean())
    if few == 1:
        return Interval(off, -np.inf, np.inf, 1, 1.0)
    if values.std() == others.std() == 0:
        return Interval(off, off, off, few, float(off == 0))
    test = ttest_ind(values, others, equal_var=False)
    bounds = test.confidence_interval(LEVEL)
    return Interval(off, float(bounds.low), float(bounds.high), few, float(test.pvalue))


def adjusted(p: Sequence[float]) -> np.ndarray:
    """Return the p of a family of tests corrected by Benjamini and Hochberg (1995): of the results that are significant
    at 0.05, at most one in twenty is expected to be false."""
    from scipy.stats import false_discovery_control

    values = np.asarray(p, float)
    return np.asarray(false_discovery_control(values)) if len(values) else values


def power(effect: float, spread: float, count: int, level: float = 1 - LEVEL) -> float:
    """Return the probability that Student's test of this many differences finds a true mean of `effect`."""
    from scipy.stats import nct, t

    edge, off = t.ppf(1 - level / 2, count - 1), effect / spread * np.sqrt(count)
    # Where scipy cannot compute a tail, the upper one is 1 and the lower one 0.
    high, low = nct.sf(edge, count - 1, off), nct.cdf(-edge, count - 1, off)
    return float(np.nan_to_num(high, nan=1.0) + np.nan_to_num(low))


def detectable(spread: float, count: int, often: float = 0.9, level: float = 1 - LEVEL) -> float:
    """Return the smallest true mean that this test finds with probability `often`."""
    from scipy.optimize import brentq

    if spread == 0:
        return 0.0
    return float(spread * brentq(lambda effect: power(effect, 1.0, count, level) - often, 1e-6, 1e3))


def _means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    _, place = np.unique(groups, return_inverse=True)
    return np.bincount(place, values) / np.bincount(place)


def _nested(inside: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """Return quantiles of means over processes drawn first, and rollouts [n] drawn within each."""
    rng = np.random.Generator(np.random.Philox(key=[seed, len(inside)]))
    drawn = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), DRAWS)
    sums, counts = np.zeros(DRAWS), np.zeros(DRAWS)
    for times, values in zip(drawn.T, inside, strict=True):
        within = rng.multinomial(times * len(values), np.full(len(values), 1 / len(values)))
        sums += within @ values
        counts += times * len(values)
    low, high = np.quantile(sums / counts, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _trimmed(means: np.ndarray) -> Interval:
    from scipy.stats import t

    count, cut = len(means), int(TRIM * len(means))
    inner = np.sort(means)[cut : count - cut]
    mean = float(inner.mean())
    # The winsorised spread: trimmed values are replaced by the nearest value that is kept.
    spread = float(np.clip(means, inner[0], inner[-1]).std(ddof=1))
    if _same(means) or spread == 0:
        return Interval(mean, mean, mean, count, float(mean == 0))
    off = spread / ((1 - 2 * cut / count) * np.sqrt(count))
    half = float(t.ppf((1 + LEVEL) / 2, len(inner) - 1)) * off
    return Interval(mean, mean - half, mean + half, count, float(2 * t.sf(abs(mean) / off, len(inner) - 1)))


def _student_p(means: np.ndarray) -> float:
    from scipy.stats import ttest_1samp

    if len(means) < 2:
        return 1.0
    return float(means[0] == 0) if _same(means) else float(ttest_1samp(means, 0).pvalue)


def _same(means: np.ndarray) -> bool:
    """Return whether all means are equal up to rounding, where a test would measure the rounding only."""
    return bool(np.ptp(means) <= 1e-12 * np.abs(means).max())


def _student(means: np.ndarray) -> tuple[float, float]:
    from scipy.stats import t

    middle, half = means.mean(), t.ppf((1 + LEVEL) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(middle - half), float(middle + half)


@lru_cache(maxsize=64)
def _drawn(seed: int, count: int, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Return how often each group of each stratum is drawn, [DRAWS, groups], as factors of a matrix product. Cached,
    because a report uses the same few again and again."""
    rng = np.random.Generator(np.random.Philox(key=[seed, count]))
    return [rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float) for size in sizes]


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Return Kendall's tau-b of two rankings."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)
