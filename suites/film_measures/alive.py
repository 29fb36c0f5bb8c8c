"""Whether a video lives: neither blank, nor still, nor a loop of any length, nor new pictures all the time.

Most measures of drift are best for a video in which nothing happens, and some for one in which everything does. The
summary measures that Horizon recommends are therefore multiplied by the share of the video that is alive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suites.film_measures.repetition import autocorrelation, loop
from suites.film_measures.steps import JUMP
from suites.film_measures.windows import Values

STILL, SIXTEENTH = 0.5 / 255, 1 / 16
"""Mean change in a sixteenth of a second up to which a video is still: half a step of eight bits."""
BLANK = 0.01
"""Standard deviation of a picture's values (0 to 1) below which it is blank."""
REPEATS = 0.95
"""Correlation from which a repetition is a loop."""
BETWEEN = 0.125
"""Seconds between the pictures that are compared to decide whether the content continues."""
UNLIKE, LARGE = 0.3, 0.02
"""Pictures `BETWEEN` apart with a lower correlation and a larger change than these are unrelated."""
OFTEN = 0.5
"""Jumps a second from which a video is nothing but jumps."""
AROUND = 10.0
"""Seconds, around the middle of a window, in which jumps are counted: a film may have two cuts in a short time."""


@dataclass(frozen=True)
class Track:
    """Statistics of the T pictures of a video.

    Parameters
    ----------
    rate
        Pictures a second.
    changes
        Mean absolute difference of each picture from the one before, of values 0 to 1, [T - 1].
    spread
        Standard deviation of all values of each picture, [T].
    layout
        Pictures reduced to a few pixels, values 0 to 1, flat, of every `every`-th picture, [T', D].
    every
        Pictures from one of `layout` to the next.
    """

    rate: float
    changes: Values
    spread: Values
    layout: NDArray[np.float32]
    every: int = 1

    @property
    def step(self) -> float:
        """Seconds between pictures of `layout`."""
        return self.every / self.rate


def alive(track: Track, windows: Sequence[tuple[int, int]]) -> list[float]:
    """Return for each window of a video 1 where it is alive, else 0.

    A window is not alive where it is blank (its last picture), still (its mean change), churning (pictures an eighth of
    a second apart have nothing in common, or there is a jump every two seconds or more often), or part of a loop. Loops
    are looked for in the whole video and in its second half.

    Parameters
    ----------
    track
        Track of the whole video.
    windows
        First picture of each, and the one after its last.
    """
    count = len(track.spread)
    looped = count
    for begin in (0, len(track.layout) // 2):
        part = track.layout[begin:]
        if len(part) >= 8 and loop(part, track.step).correlation >= REPEATS:
            looped = min(looped, begin * track.every)
    found = []
    for start, end in windows:
        changes = track.changes[max(start - 1, 0) : end - 1]
        still = not len(changes) or float(changes.mean()) * track.rate * SIXTEENTH <= STILL
        blank = float(track.spread[end - 1]) < BLANK
        repeats = end > looped and start >= looped - 1
        found.append(float(not (still or blank or repeats or churning(track, start, end))))
    return found


def churning(track: Track, start: int, end: int) -> bool:
    """Return whether the content of the pictures from `start` to before `end` is replaced all the time."""
    more = max(0, math.ceil((AROUND * track.rate - (end - start)) / 2))
    around = track.changes[max(start - 1 - more, 0) : end - 1 + more]
    if int((around > JUMP).sum()) >= max(2, OFTEN * len(around) / track.rate):
        return True
    part = track.layout[start // track.every : -(-end // track.every)]
    apart = max(1, round(BETWEEN / track.step))
    if len(part) < 4 * apart:
        return False
    large = float(np.abs(part[apart:] - part[:-apart]).mean()) > LARGE
    return large and float(autocorrelation(part, apart)[apart]) < UNLIKE
