"""The measures of the plain viewer, computed from its statistics of a film."""

from __future__ import annotations

import numpy as np

from harness.films.contract import Film
from harness.films.view_files import Part
from suites.film_measures.alive import alive
from suites.film_measures.declared import LEVELS, PICTURES
from suites.film_measures.similarity import to_first
from suites.film_measures.steps import cuts, pulse
from suites.viewers.parts import rounded, whole
from suites.viewers.plain.tracks import Looks
from suites.viewers.video_file import middles


def of_film(metric: str, film: Film, looks: Looks) -> Part:
    """Return a measure of a film."""
    track, end = looks.track, film.windows[-1].at_frame
    if metric in LEVELS:
        place = list(LEVELS).index(metric)
        found = [
            float(np.mean([looks.levels[frame][place] for frame in middles(span.start, span.end, film.rate)]))
            for span in film.windows
        ]
    elif metric == "alive":
        found = alive(track, [(span.start, span.end) for span in film.windows])
    elif metric == "to_first_pictures":
        cosines = to_first(looks.vectors)
        places = [(span.start // track.every, -(-span.end // track.every)) for span in film.windows]
        found = [float(cosines[first:last].mean()) for first, last in places]
    elif metric == "cuts":
        return Part(((end, float(len(cuts(track.changes)))),))
    elif metric == "pulse":
        if film.chunk < 2:
            return Part(skipped="its chunks are not known; horizon import --chunk says how many pictures are one")
        return Part(((end, rounded(pulse(looks.luminance, film.chunk))),))
    else:
        return whole(metric, PICTURES, looks.vectors, end, track.step, track.layout)
    return Part(tuple((span.at_frame, rounded(value)) for span, value in zip(film.windows, found, strict=True)))
