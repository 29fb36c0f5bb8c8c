"""Similarity of a video's pictures to one another, over features of any kind.

Vectors are of unit length, [T, D], one a picture, `step` seconds apart. A vector of zeros (a picture without features)
has the cosine 0 to every other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suites.film_measures.declared import LAGS
from suites.film_measures.windows import Values

FIRST = 0.05
"""Share of a video's pictures that are its first ones, for anchoring."""
FIFTH = 0.2
"""Share of a video's pictures that are its last ones, for anchoring."""
RECENT = 2.0
"""Seconds before a picture, of the picture that it would resemble if it simply went on."""
SAME = 1e-6
"""Difference of cosines that is none."""


def unit(vectors: NDArray[np.floating]) -> Values:
    """Return vectors [T, D] scaled to unit length; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled: Values = wide / np.where(lengths > 0, lengths, 1)
    return scaled


def lag_curve(vectors: Values, step: float, lags: Sequence[float] = LAGS) -> Values:
    """Return the mean cosine of all pairs of pictures that are so many seconds apart.

    Asked for in Vchitect/VBench#206. Every value is near 1 for a video that stands still.

    Parameters
    ----------
    vectors
        [T, D].
    step
        Seconds between pictures.
    lags
        Seconds, [L]. Each is rounded to whole steps.

    Returns
    -------
    Values
        -1 to 1, [L]; NaN where a lag is shorter than a step or longer than the video.
    """
    found = np.full(len(lags), np.nan)
    for place, lag in enumerate(lags):
        apart = round(lag / step)
        if 1 <= apart < len(vectors) and abs(apart * step - lag) <= 0.2 * lag:
            found[place] = neighbours(vectors, apart)
    return found


def neighbours(vectors: Values, apart: int = 1) -> float:
    """Return the mean cosine of pictures and those `apart` places later; NaN where there is no pair.

    With consecutive pictures and CLIP's image features it is the measure that papers call CLIP-F.
    """
    if len(vectors) <= apart:
        return float("nan")
    return float((vectors[:-apart] * vectors[apart:]).sum(1).mean())


class Anchoring(NamedTuple):
    """How a video's end is related to its first pictures.

    Parameters
    ----------
    cosine
        Mean cosine of the last fifth's pictures to the mean of the first 5 % of the pictures; -1 to 1.
    control
        Mean cosine of the same pictures to the mean of as many pictures that lie a quarter into the video.
    stuck
        Share of the last fifth's pictures that resemble the mean of the first pictures at least as much as the picture
        two seconds before; 0 to 1. It is 1 for a video that stands still.
    """

    cosine: float
    control: float
    stuck: float


def anchoring(vectors: Values, step: float) -> Anchoring:
    """Return how much the last fifth of a video resembles its first pictures, beside a control; NaN for a video of
    fewer than five pictures, or (`stuck`) one whose last fifth begins before `RECENT`."""
    count = len(vectors)
    if count < 5:
        return Anchoring(*[float("nan")] * 3)
    few = max(1, int(FIRST * count))
    last = count - max(1, int(FIFTH * count))
    middle = count // 4
    early, other = (unit(part.mean(0)) for part in (vectors[:few], vectors[middle : middle + few]))
    to_first = vectors[last:] @ early
    back = max(1, round(RECENT / step))
    stuck = float("nan")
    if last >= back:
        to_recent = (vectors[last:] * vectors[last - back : count - back]).sum(1)
        stuck = float((to_first >= to_recent - SAME).mean())
    return Anchoring(float(to_first.mean()), float((vectors[last:] @ other).mean()), stuck)


def to_first(vectors: Values) -> Values:
    """Return the cosine of every picture to the mean of the first 5 % of the pictures, [T]."""
    few = max(1, int(FIRST * len(vectors)))
    return np.asarray(vectors @ unit(vectors[:few].mean(0)))


def returned(similarity: Values) -> float:
    """Return by how much a video came back to its first pictures: the largest rise of the cosine to them from any time
    to any later one, 0 to 2.

    0 for a video that only leaves them, and for one that stands still. NaN where there is no value.
    """
    there = similarity[np.isfinite(similarity)]
    if not len(there):
        return float("nan")
    return float((there - np.minimum.accumulate(there)).max())


def consistency(vectors: Values) -> float:
    """Return the mean cosine of each picture after the first to the first one and to the one before, half and half.

    It is VBench's subject consistency (arXiv:2311.17982) where the features are DINO's. NaN for a single picture.
    """
    if len(vectors) < 2:
        return float("nan")
    before = (vectors[1:] * vectors[:-1]).sum(1).clip(0)
    first = (vectors[1:] @ vectors[0]).clip(0)
    return float(((before + first) / 2).mean())
