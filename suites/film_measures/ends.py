"""Drift of a quality over a video: what papers make of the curve of any measure of quality.

Every function takes curves `values` [n, W] whose windows end at the times `ends` [W] (rising, from 0 on; NaN where a
window has no value), and the time `length` at which the video ends, all in one unit. It returns one number a curve,
[n]; NaN where the curve has no value in a part that is needed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from suites.film_measures.windows import Values, mean_between

PARTS = 10
"""Parts of a video for `vde`."""


def level(values: Values, ends: Values, length: float, part: float, late: bool) -> Values:
    """Return the mean over the first or the last `part` (in the unit of `length`) of each video, [n]."""
    span = (length - part, length) if late else (0.0, part)
    return mean_between(values, ends, *span)


def delta_drift(values: Values, ends: Values, length: float, part: float) -> Values:
    """Return the absolute difference of a quality between the first and the last part of a video.

    FramePack (arXiv:2504.12626) takes 15 % of a video as its part, and so does Rolling Forcing (arXiv:2509.25161);
    Helios takes 20 %, Forcing-KV 5 s. A video that stands still has the best possible value, 0.

    Parameters
    ----------
    values, ends, length
        As the module says.
    part
        Length of each part, in the unit of `length`.

    Returns
    -------
    Values
        In the unit of the quality, at least 0, [n]; NaN where the two parts would overlap.
    """
    if 2 * part > length:
        return np.full(len(values), np.nan)
    return np.abs(level(values, ends, length, part, False) - level(values, ends, length, part, True))


def kept(values: Values, ends: Values, length: float, part: float) -> Values:
    """Return which share of a positive quality is the same in the first and the last part: the smaller level over the
    larger one, 0 to 1, [n].

    It is 1 where both are equal (both 0 included), whichever way a quality drifts, and has no unit.
    """
    if 2 * part > length:
        return np.full(len(values), np.nan)
    early, late = (np.maximum(level(values, ends, length, part, each), 0) for each in (False, True))
    largest = np.maximum(early, late)
    ratio = np.minimum(early, late) / np.where(largest > 0, largest, 1)
    return np.where(largest > 0, ratio, np.where(np.isnan(largest), np.nan, 1.0))


def parts(values: Values, ends: Values, length: float, count: int = PARTS) -> Values:
    """Return the means of curves over `count` equal parts of a video, [n, count]."""
    edges = np.linspace(0, length, count + 1)
    return np.stack([mean_between(values, ends, after, until) for after, until in pairwise(edges)], 1)


def vde(means: Values, form: str = "linear", normalised: bool = False) -> Values:
    """Return the Video Drift Error of LV-Bench (BlockVid, arXiv:2511.22973) of a quality.

    With m_1 ... m_N the qualities of N parts it is the sum over i = 2 ... N of w_i · abs(m_i - m_1) / m_1, where w_i is
    N - i + 1, or its natural logarithm. Early changes weigh most. A video that stands still has the best value, 0.

    Parameters
    ----------
    means
        The qualities, positive, [n, N].
    form
        "linear" or "log".
    normalised
        Divide by the sum of the weights: the result does not grow with N.

    Returns
    -------
    Values
        No unit, at least 0, [n]; NaN where m_1 is not above 0 (the published code gives infinity) or a part has none.
    """
    count = means.shape[1]
    weights = np.arange(count - 1, 0, -1, dtype=float)
    if form == "log":
        weights = np.log(weights)
    elif form != "linear":
        raise ValueError(f"a form of vde is 'linear' or 'log', not {form!r}")
    first = np.where(means[:, :1] > 0, means[:, :1], np.nan)
    total: Values = (weights * np.abs(means[:, 1:] - first) / first).sum(1)
    return total / weights.sum() if normalised else total


def first_20_minus_all(values: Values, ends: Values, length: float) -> Values:
    """Return the mean of a quality over the first fifth of a video minus that over all of it (BAgger), [n].

    Above 0 where the quality falls. The first fifth is part of the whole, so that it is at most 0.8 of what a fall
    right after that fifth loses, and a fall that comes later counts less still.
    """
    return level(values, ends, length, 0.2 * length, False) - mean_between(values, ends, 0, length)
