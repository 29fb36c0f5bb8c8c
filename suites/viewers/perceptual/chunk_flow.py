"""Motion across chunk borders over motion elsewhere, by the same optical flow as `flow`.

Pairs are neighbouring frames: of up to `PAIRS` borders, evenly spaced, the last frame of a chunk and the first one of
the next; beside each the two frames in the middle of that next chunk.
"""

from __future__ import annotations

from typing import Any

from harness.films.contract import Film
from harness.films.view_files import OF_FILM, Part
from suites.film_measures.steps import borders, discontinuity
from suites.viewers.perceptual.flow import LONGEST, PAIRS, Flow, longest
from suites.viewers.video_file import pictures


class ChunkFlow:
    """`chunk_flow`: 1 where chunk borders cannot be told from the rest of a video."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.remedy = flow.remedy

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        sampling = f"neighbouring frames, at most {PAIRS} borders, evenly; the longest {LONGEST:.0%} of a pair"
        common = {**self.flow.protocol("flow", film), "sampling": sampling}
        return {**common, OF_FILM: {"chunk": [film.first, film.chunk]}}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""
        every = [start for start in borders(film.frames, film.first, film.chunk) if start + film.chunk <= film.frames]
        if film.chunk < 4 or not every:
            return Part(skipped="its chunks are not known, or it has no second one of four frames or more")
        chosen = [every[place * len(every) // PAIRS] for place in range(PAIRS)] if len(every) > PAIRS else every
        across, inside = set(chosen), {start + film.chunk // 2 for start in chosen}
        lengths: dict[int, float] = {}
        before: Any = None
        wanted = {frame - each for frame in across | inside for each in (0, 1)}
        for number, picture in pictures(film.path, wanted):
            now = self.flow.shown(picture)
            if number in across | inside:
                lengths[number] = longest(self.flow.between(before, now))
            before = now
        found = discontinuity([lengths[each] for each in across], [lengths[each] for each in inside])
        return Part(((film.windows[-1].at_frame, None if found is None else round(found, 6)),))
