"""Repetition in a video, at any period: loops, and a return to the beginning at fixed times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suites.film_measures.windows import Values

APART = 0.5
"""Correlation below which a video has left its earlier content; a loop is a later peak."""
SHORTEST = 0.25
"""Seconds of the shortest loop that is looked for."""
ALIKE = 0.02
"""Difference below which two correlations count as equal."""
STILL = 1e-8
"""Mean square of changes (of values 0 to 1) below which a signal stands still."""
MOST = 1 << 15
"""Values of a spectrum that are held at once, times the length of the signal."""


def autocorrelation(signal: NDArray[np.floating], most: int) -> Values:
    """Return the correlation of a signal with itself, `k` places later, for k = 0 ... `most`.

    With the mean of the whole signal taken away, a the part without the last k places and b that without the first k,
    it is 2 Σ a·b / (Σ a·a + Σ b·b): exactly 1 where both are equal. NaN where both are zero.

    Parameters
    ----------
    signal
        [T], or [T, D] for vectors.
    most
        Largest k, below T.

    Returns
    -------
    Values
        -1 to 1, [most + 1].
    """
    wide = np.asarray(signal, dtype=np.float64).reshape(len(signal), -1)
    wide = wide - wide.mean(0)
    length = 1 << (2 * len(wide) - 1).bit_length()
    products = np.zeros(most + 1)
    # By parts of the vectors, so that long videos need little memory.
    some = max(1, MOST * 64 // length)
    for start in range(0, wide.shape[1], some):
        spectrum = np.fft.rfft(wide[:, start : start + some], length, axis=0)
        power = (spectrum.real**2 + spectrum.imag**2).sum(1)
        products += np.fft.irfft(power, length)[: most + 1]
    squares = np.concatenate(([0.0], np.cumsum((wide**2).sum(1))))
    lags = np.arange(most + 1)
    both = squares[len(wide) - lags] + (squares[-1] - squares[lags])
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Values = np.where(both > STILL * 1e-3, 2 * products / both, np.nan)
    return found.clip(-1, 1)


class Loop(NamedTuple):
    """The strongest repetition of a video. correlation: 0 to 1; period: seconds, NaN where nothing repeats."""

    correlation: float
    period: float


def loop(signal: NDArray[np.floating], step: float) -> Loop:
    """Return the strongest repetition: the highest peak of the correlation after the video has left what it showed.

    "Left" is the first lag with a correlation below `APART`; a peak is not below its neighbours. Of peaks that are as
    high within `ALIKE` the first one has the period. Lags go to half of the video, so that a loop is seen at least
    twice. A video that stands still repeats at every lag: its correlation is 1, its period NaN. One that never leaves,
    or leaves for good, has correlation 0.

    Parameters
    ----------
    signal
        Values of pictures, not of unit length, [T, D].
    step
        Seconds between pictures.
    """
    wide = np.asarray(signal, dtype=np.float64).reshape(len(signal), -1)
    if len(wide) < 4:
        return Loop(float("nan"), float("nan"))
    if float(wide.var(0).mean()) <= STILL:
        return Loop(1.0, float("nan"))
    found = autocorrelation(wide, len(wide) // 2)
    away = np.flatnonzero(found < APART)
    first = max(int(away[0]) if len(away) else len(found), round(SHORTEST / step), 1)
    around = np.concatenate((found, [-np.inf]))
    peaks = [lag for lag in range(first, len(found)) if around[lag - 1] <= around[lag] >= around[lag + 1]]
    best = max((float(found[lag]) for lag in peaks), default=0.0)
    if best <= 0:
        return Loop(0.0, float("nan"))
    return Loop(best, step * next(lag for lag in peaks if found[lag] >= best - ALIKE))
