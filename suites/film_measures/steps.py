"""Changes from picture to picture: cuts, pulses at the chunk's length, discontinuities at chunk borders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suites.film_measures.repetition import autocorrelation
from suites.film_measures.windows import Values

JUMP = 0.10
"""Mean absolute difference of neighbouring pictures (values 0 to 1) below which nothing is a cut."""
DEVIATIONS = 5
"""Standard deviations above the mean difference, from which a difference is a cut."""


def cuts(changes: Values) -> NDArray[np.int64]:
    """Return the numbers of the pictures that begin after a cut.

    A cut is a change beyond max(0.10, mean + 5 standard deviations) of all changes of the video.

    Parameters
    ----------
    changes
        Mean absolute difference of each picture from the one before, of values 0 to 1, [T - 1].
    """
    if not len(changes):
        return np.zeros(0, np.int64)
    return np.flatnonzero(changes > max(JUMP, changes.mean() + DEVIATIONS * changes.std())) + 1


def pulse(luminance: Values, chunk: int) -> float:
    """Return how much the mean luminance beats with the chunks of a video: its correlation with itself, a chunk later.

    What changes more slowly than a chunk is taken away first: from each value the mean of the `chunk` (made odd) values
    around it, of which there are fewer at both ends. A fade is no pulse.

    Parameters
    ----------
    luminance
        Mean of each picture, [T].
    chunk
        Pictures of a chunk, at least 2.

    Returns
    -------
    float
        -1 to 1; 0 for constant luminance, NaN for a video of fewer than three chunks.
    """
    if chunk < 2 or len(luminance) < 3 * chunk:
        return float("nan")
    half = chunk // 2
    sums = np.concatenate(([0.0], np.cumsum(luminance)))
    places = np.arange(len(luminance))
    starts, stops = np.maximum(places - half, 0), np.minimum(places + half + 1, len(luminance))
    fast = luminance - (sums[stops] - sums[starts]) / (stops - starts)
    # Rounding leaves something of constant luminance, too.
    if float(np.square(fast).mean()) < 1e-12:
        return 0.0
    return float(autocorrelation(fast, chunk)[chunk])


def borders(frames: int, first: int, chunk: int) -> list[int]:
    """Return the numbers of the pictures that begin a chunk, without the first; `first` pictures are in the first chunk
    and `chunk` in each other one."""
    return list(range(first, frames, chunk)) if first > 0 and chunk > 0 else []


def discontinuity(across: Sequence[float], inside: Sequence[float]) -> float | None:
    """Return motion across chunk borders over motion elsewhere: 1 where borders cannot be told from the rest.

    Parameters
    ----------
    across, inside
        Length of the optical flow of pairs of neighbouring pictures, of pairs across a border and of others.

    Returns
    -------
    float or None
        At least 0; None where there is no pair of either kind, or nothing moves elsewhere.
    """
    if not across or not inside or not np.mean(inside) > 0:
        return None
    return float(np.mean(across) / np.mean(inside))
