"""Arms whose rollouts pair with none of the others: films made elsewhere, of other prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.statistics.bootstrap import Interval, apart
from reports.statistics.bounded import Scale


def strangers(there: np.ndarray, imported: Sequence[bool]) -> np.ndarray:
    """Return which arms were imported and share no rollout with any other arm, bool [arms].

    Parameters
    ----------
    there
        Whether a rollout [n] of an arm [arms] has a value, bool [n, arms].
    imported
        Whether an arm is of films made elsewhere, [arms].
    """
    count = there.sum(1)
    alone = ~(there & (count > 1)[:, None]).any(0) & there.any(0)
    return alone & np.array(imported, bool) & (there.shape[1] > 1)


def difference(values: np.ndarray, others: np.ndarray, groups: np.ndarray, scale: Scale) -> Interval:
    """Return the difference of the means of two arms over rollouts of their own, by Welch's test.

    Parameters
    ----------
    values, others
        Values of the two arms, [n], NaN where an arm has no rollout.
    groups
        Label of each rollout [n]; those with one label are one observation.
    scale
        The range of the values.
    """
    found = apart(_observations(values, groups), _observations(others, groups))
    span = scale.high - scale.low
    low, high = np.clip([found.low, found.high], -span, span)
    return replace(found, low=float(low), high=float(high))


def _observations(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    there = np.isfinite(values)
    _, place = np.unique(groups[there], return_inverse=True)
    return np.asarray(np.bincount(place, values[there]) / np.bincount(place)) if there.any() else np.zeros(0)
