"""The values of a film's clips, which VBench averages: one file a film, and dimensions over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.files import load_json, write_text
from harness.films.checks import FORMAT
from harness.films.contract import Film
from harness.films.view_files import Part
from suites.viewers.vbench.clips import Clip


def keep_clips(folder: Path, film: Film, clips: Sequence[Clip], metric: str, values: Sequence[float | None]) -> None:
    """Write the values of a film's clips by a metric into a folder, beside those of other metrics of the same clips."""
    path = folder / f"{film.id}.json"
    listed = [{"name": clip.path.name, "start": clip.start, "end": clip.end} for clip in clips]
    kept = {"format": FORMAT, "film": film.id, "sha256": film.sha256, "clips": listed}
    try:
        known = load_json(path)
    except (OSError, ValueError):
        # A missing or damaged file is written again.
        known = None
    same = isinstance(known, dict) and all(known.get(name) == value for name, value in kept.items())
    scores = {**(known["scores"] if same else {}), metric: list(values)}
    write_text(path, json.dumps({**kept, "scores": scores}, indent=1) + "\n")


def over_time(folder: Path, film: Film, metric: str) -> Part | None:
    """Return the values of a film's clips at the latent frames at which they end; None where it was not cut for this
    metric. Clips that end together (the last one borrows earlier frames) are one value."""
    path = folder / f"{film.id}.json"
    try:
        known = load_json(path)
        values, clips = known["scores"][metric], known["clips"]
        if known["sha256"] != film.sha256 or len(values) != len(clips):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    end = film.windows[-1].at_frame
    by_end: dict[int, list[float]] = {}
    for clip, value in zip(clips, values, strict=True):
        if value is not None:
            by_end.setdefault(round(end * min(1, clip["end"] / film.frames)), []).append(value)
    return Part(tuple((at, sum(each) / len(each)) for at, each in sorted(by_end.items()))) if by_end else None
