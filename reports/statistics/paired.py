"""Tests of paired differences, and the rollouts that arms have in common.

Rollouts of one prompt and seed show the same true scene with the same noise under every arm, so arms are compared over
the rollouts that all of them have. Means over each arm's surviving rollouts would compare easy scenes with hard ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reports.statistics.bounded import Scale, means

FLIPS = 8192
"""Sign patterns of a randomisation test, including the observed one."""
EXACT = 14
"""Number of observations up to which all sign patterns are used."""


def common(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rollouts are used, and which arms are compared side by side.

    Parameters
    ----------
    there
        Whether a rollout [n] of an arm [arms] has a value, bool [n, arms].

    Returns
    -------
    rollouts
        Those that every arm of `arms` has, bool [n]; none where the arms share no rollout.
    arms
        Those that have at least half as many rollouts as the fullest arm, bool [arms]. An arm that has hardly begun, or
        failed nearly everywhere, must not remove the rollouts of all others.
    """
    had = there.sum(0)
    arms = (had > 0) & (2 * had >= had.max(initial=0))
    return there[:, arms].all(1) & arms.any(), arms


@dataclass(frozen=True)
class Beside:
    """Means of arms that are compared side by side.

    Parameters
    ----------
    mean, low, high
        [arms]; NaN where an arm is not compared side by side, and for the interval of a single rollout.
    count
        Rollouts behind each mean, [arms].
    rollouts
        Those that all of these arms have, bool [n].
    arms
        Which arms are compared side by side, bool [arms].
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    rollouts: np.ndarray
    arms: np.ndarray


def side_by_side(values: np.ndarray, groups: np.ndarray, scale: Scale) -> Beside:
    """Return the means of arms over the rollouts that they have in common.

    Parameters
    ----------
    values
        [n, arms], NaN where an arm has no value of a rollout. Arms that share no rollout (each has its own prompts)
        get means over their own rollouts, which must not be compared.
    groups
        Label of each rollout [n]; those with one label are one observation.
    scale
        The range of the values.
    """
    there = np.isfinite(values)
    rollouts, arms = common(there)
    found, count = np.full((3, values.shape[1]), np.nan), np.zeros(values.shape[1], int)
    if rollouts.any():
        found[:, arms] = means(values[rollouts][:, arms], groups[rollouts], scale)
        count[arms] = rollouts.sum()
    else:
        for place in np.flatnonzero(arms):
            mine = there[:, place]
            found[:, place] = np.ravel(means(values[mine][:, [place]], groups[mine], scale))
            count[place] = mine.sum()
    # A single rollout has no interval.
    found[1:, ~np.isfinite(found[1:]).all(0)] = np.nan
    mean, low, high = found
    return Beside(mean, low, high, count, rollouts, arms)


def flip_p(sums: np.ndarray) -> np.ndarray:
    """Return p, two-sided, of Fisher's randomisation test that paired differences have mean zero.

    Parameters
    ----------
    sums
        Differences of independent observations, [n, columns]. Under the null hypothesis each sign is equally likely; p
        is the share of sign patterns with a sum at least as far from zero. Up to `EXACT` observations all patterns are
        used, above it `FLIPS` random ones. With eight observations p is at least 2 in 256, however large the
        differences are.
    """
    if not len(sums):
        return np.ones(sums.shape[1])
    found = np.empty(sums.shape[1])
    # Columns are processed by the thousand, to bound the memory for a table of many arms.
    for start in range(0, sums.shape[1], 1000):
        part = sums[:, start : start + 1000]
        seen = np.abs(part.sum(0))
        far = np.abs(_signs(len(sums)) @ part) >= seen * (1 - 1e-9) - 1e-300
        found[start : start + 1000] = far.mean(0)
    return found


def student_p(values: np.ndarray) -> np.ndarray:
    """Return p, two-sided, of Student's test that the mean of each column [n, columns] is zero.

    Used for the few repeats of a cost measurement, whose noise is that of the machine. For values that are all equal
    (bytes) p is 0, or 1 where they are zero.
    """
    from scipy.stats import t

    count, mean = len(values), values.mean(0)
    if count < 2:
        return np.ones(values.shape[1])
    same = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(0)
    error = values.std(0, ddof=1) / np.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t.sf(np.abs(mean) / error, count - 1)
    return np.where(same, (mean == 0).astype(float), p)


@lru_cache(maxsize=8)
def _signs(count: int) -> np.ndarray:
    """Return sign patterns [patterns, count]; the first is the observed one, all of them +1."""
    if count <= EXACT:
        # Inverting all signs does not change the distance, so half of the patterns are enough.
        bits = np.arange(2 ** (count - 1))[:, None] >> np.arange(count) & 1
        return 1.0 - 2.0 * bits
    rng = np.random.Generator(np.random.Philox(key=[1, count]))
    signs = 1.0 - 2.0 * rng.integers(0, 2, (FLIPS, count))
    signs[0] = 1.0
    return signs
