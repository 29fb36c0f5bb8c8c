"""Statistics of a film for the plain viewer, from one pass over the film in little memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.films.contract import Film
from suites.film_measures.alive import Track
from suites.film_measures.similarity import unit
from suites.film_measures.windows import Values
from suites.viewers.video_file import Picture, middles, pictures

SIDE = 16
"""Pixels to which each side of a picture is reduced for its layout."""
MOST = 20_000
"""Most layouts of a film that are kept: 23 minutes of 14.4 a second."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""


@dataclass(frozen=True)
class Looks:
    """Statistics of a film from which all measures are computed.

    Parameters
    ----------
    track
        Changes and layouts of all pictures.
    luminance
        Mean of each picture, 0 to 1, [T].
    levels
        Luminance, contrast, saturation and detail of some pictures, by their number.
    """

    track: Track
    luminance: Values
    levels: dict[int, tuple[float, float, float, float]]

    @cached_property
    def vectors(self) -> Values:
        """Features of the layouts: their values minus medium grey, of unit length, [T', D]."""
        return unit(self.track.layout - np.float32(0.5))


def looked_at(film: Film) -> Looks:
    """Read a film. Raises StoreError for a damaged video."""
    return looks_of(film, pictures(film.path, range(film.frames)))


def looks_of(film: Film, shown: Iterable[tuple[int, Picture]]) -> Looks:
    """Return what is kept of a film, of all its pictures with their numbers, in order."""
    measured = {frame for span in film.windows for frame in middles(span.start, span.end, film.rate)}
    ends = {span.end - 1 for span in film.windows}
    every = max(1, math.ceil(film.frames / MOST))
    layouts, changes, luminance = [], np.zeros(max(film.frames - 1, 0)), np.zeros(film.frames)
    spread = np.full(film.frames, np.nan)
    levels: dict[int, tuple[float, float, float, float]] = {}
    before: Picture | None = None
    for number, picture in shown:
        small, mean = reduced(picture)
        luminance[number] = float(mean @ LUMA)
        if number % every == 0:
            layouts.append(small.ravel())
        if before is not None:
            changes[number - 1] = change(before, picture)
        if number in ends:
            spread[number] = float(picture.std()) / 255
        if number in measured:
            levels[number] = levels_of(picture)
        before = picture
    track = Track(film.rate, changes, spread, np.stack(layouts), every)
    return Looks(track, luminance, levels)


def change(before: Picture, after: Picture) -> float:
    """Return the mean absolute difference of two pictures, of values 0 to 1."""
    apart = np.maximum(before, after) - np.minimum(before, after)
    return float(apart.mean(dtype=np.float64)) / 255


def reduced(picture: Picture) -> tuple[NDArray[np.float32], Values]:
    """Return a picture as means over a grid of `SIDE` fields a side, 0 to 1 [h, w, 3], and its mean colour [3]."""
    height, width = picture.shape[:2]
    rows, columns = (_starts(side) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(picture, rows, axis=0, dtype=np.uint32), columns, axis=1)
    areas = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    small = (sums / areas[..., None] / 255).astype(np.float32)
    return small, sums.sum((0, 1)) / (height * width * 255)


def levels_of(picture: Picture) -> tuple[float, float, float, float]:
    """Return luminance, contrast, saturation and detail of a picture, of values 0 to 1."""
    values = picture.astype(np.float32) / 255
    luma = values @ np.array(LUMA, np.float32)
    saturation = values.max(-1) - values.min(-1)
    detail = sum(float(np.abs(np.diff(values, axis=axis)).mean()) if values.shape[axis] > 1 else 0.0 for axis in (0, 1))
    return float(luma.mean()), float(luma.std()), float(saturation.mean()), detail


def _starts(side: int) -> Sequence[int]:
    count = min(SIDE, side)
    return [place * side // count for place in range(count)]
