"""Similarity within a video by DINOv2 and CLIP: lag curves, anchoring, loops, and fixed segments of 10 s.

Sampled by time: two frames a second, and beside every second one of them its neighbour, for CLIP-F. Loops of less than
a second are not seen by these features; the viewer `plain` sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.films.contract import Film
from harness.films.view_files import Part
from suites.film_measures.similarity import consistency
from suites.viewers.parts import rounded, whole
from suites.viewers.perceptual.features import Features, features
from suites.viewers.perceptual.networks import Encoder
from suites.viewers.perceptual.similarity import Clip

STEP = 0.5
"""Seconds between sampled frames."""
SEGMENT = 10.0
"""Seconds of a fixed segment, as LongLive (arXiv:2509.22622) and others print them."""
KIND = "-steady"
SAMPLING = (
    "two frames a second, at a quarter and three quarters of each; for CLIP-F the first of them and its neighbour"
)


def regular(film: Film) -> list[int]:
    """Return the frames that are sampled, `STEP` apart in time."""
    count = max(1, math.floor(film.frames / film.rate / STEP + 1e-6))
    found = [math.floor((number + 0.5) * STEP * film.rate) for number in range(count)]
    return [frame for frame in found if frame < film.frames]


class Structure:
    """Measures of features that need no text."""

    def __init__(self, encoder: Encoder, cache: Path) -> None:
        self.encoder, self.cache = encoder, cache
        self.remedy = encoder.remedy

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        return {**self.encoder.identity(), "sampling": SAMPLING}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video or network."""
        seen, frames = self.seen(film), regular(film)
        vectors = seen.of(frames)
        end, name = film.windows[-1].at_frame, self.encoder.short
        if metric == f"{name}_10s":
            return self.segments(film, lambda first, last: consistency(vectors[first:last]))
        return whole(metric, name, vectors, end, STEP)

    def seen(self, film: Film) -> Features:
        """Return the vectors of the sampled frames and of the neighbours of every second one."""
        frames = regular(film)
        beside = [frame + 1 for frame in frames[::2] if frame + 1 < film.frames]
        return features(film, self.encoder, self.cache, {*frames, *beside}, KIND)

    def segments(self, film: Film, measure: Callable[[int, int], float]) -> Part:
        """Return a measure of each segment of 10 s: of places in `regular`, from the first to before the last one.

        A last segment of less than half of that is left out, unless it is the only one.
        """
        frames = regular(film)
        each = round(SEGMENT / STEP)
        count = max(1, math.floor(len(frames) / each + 0.5))
        found = []
        for number in range(count):
            first, last = number * each, len(frames) if number == count - 1 else (number + 1) * each
            at = film.windows[-1].at_frame * min(1.0, last / len(frames))
            found.append((round(at), rounded(measure(first, last))))
        return Part(tuple(found))


class ClipStructure(Structure):
    """The same by CLIP, and what compares neighbouring frames (CLIP-F) or frames and prompts (CLIP-T)."""

    def __init__(self, clip: Clip, cache: Path) -> None:
        super().__init__(clip.encoder, cache)
        self.clip = clip

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        told = super().protocol(metric, film)
        return {**self.clip.protocol("clip_score", film), **told} if metric == "clip_t_10s" else told

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video or network."""
        if metric == "clip_f":
            return Part(((film.windows[-1].at_frame, rounded(self._neighbours(film, 0, len(regular(film))))),))
        if metric == "clip_f_10s":
            return self.segments(film, lambda first, last: self._neighbours(film, first, last))
        if metric == "clip_t_10s":
            return self.segments(film, lambda first, last: self._prompted(film, first, last))
        return super().look(metric, film)

    def _neighbours(self, film: Film, first: int, last: int) -> float:
        """Return the mean cosine of sampled frames and the ones after them."""
        frames = [frame for frame in regular(film)[first:last][first % 2 :: 2] if frame + 1 < film.frames]
        if not frames:
            return float("nan")
        seen = self.seen(film)
        return float((seen.of(frames) * seen.of(frame + 1 for frame in frames)).sum(1).mean())

    def _prompted(self, film: Film, first: int, last: int) -> float:
        """Return 100 cosines of sampled frames and the prompts of their scenes, each at least 0, the mean."""
        frames = regular(film)[first:last]
        acts = [next(act for act in reversed(film.acts) if act.start <= frame) for frame in frames]
        pictures = self.seen(film).of(frames)
        texts = np.stack([self.clip.prompts.vector(act.prompt) for act in acts])
        return float(100 * (pictures * texts).sum(1).clip(0).mean())
