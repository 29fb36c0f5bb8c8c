"""Means of curves whose points stand for windows of a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def overlaps(ends: Values, after: float, until: float) -> Values:
    """Return how much of each window lies between two times.

    Parameters
    ----------
    ends
        Times at which windows end, rising, [W]. The first window begins at 0, each other one where the last one ends.
    after, until
        The two times, in the unit of `ends`.

    Returns
    -------
    Values
        In the same unit, [W].
    """
    starts = np.concatenate(([0], ends[:-1]))
    return np.clip(np.minimum(ends, until) - np.maximum(starts, after), 0, None)


def weighted_mean(values: Values, weights: Values) -> Values:
    """Return the weighted mean of each row's finite values; NaN where there is none.

    Parameters
    ----------
    values
        Curves, [n, W].
    weights
        Weight of each window, [W].

    Returns
    -------
    Values
        [n].
    """
    there = np.where(np.isfinite(values), weights, 0.0)
    total = there.sum(1)
    return np.where(total > 0, (np.nan_to_num(values) * there).sum(1) / np.maximum(total, 1e-9), np.nan)


def mean_between(values: Values, ends: Values, after: float, until: float) -> Values:
    """Return the mean of each curve between two times, [n]; NaN where it has no value there."""
    return weighted_mean(values, overlaps(ends, after, until))
