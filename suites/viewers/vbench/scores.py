"""Arithmetic of VBench and VBench-Long: from raw dimensions to the scores that papers print.

Raw dimensions lie between 0 and 1, as VBench gives them; scores are in per cent, as papers print them. A score is
omitted where one of its dimensions is missing; it is never computed from fewer.

Papers: VBench, arXiv:2311.17982; VBench++ (VBench-Long), arXiv:2411.13503. Constants and tables: Vchitect/VBench at
`COMMIT`. Only the standard library is imported here.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

COMMIT = "45e79ec14e69a2187202c675d2dbce1a71843d53"
TABLES = Path(__file__).parent / "tables" / "long.json"

QUALITY = {
    "subject_consistency": 1.0,
    "background_consistency": 1.0,
    "temporal_flickering": 1.0,
    "motion_smoothness": 1.0,
    "aesthetic_quality": 1.0,
    "imaging_quality": 1.0,
    "dynamic_degree": 0.5,
}
"""Dimensions of the quality score, with their weights."""
SEMANTIC = (
    "object_class",
    "multiple_objects",
    "human_action",
    "color",
    "spatial_relationship",
    "scene",
    "appearance_style",
    "temporal_style",
    "overall_consistency",
)
"""Dimensions of which the semantic score is the mean."""
CONSISTENCY = ("subject_consistency", "background_consistency")
"""Dimensions with a fast branch, which also compares clips with one another."""
RANGES = {
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "temporal_flickering": (0.6293, 1.0),
    "motion_smoothness": (0.706, 0.9975),
    "scene": (0.0, 0.8222),
    "appearance_style": (0.0009, 0.2855),
    "temporal_style": (0.0, 0.364),
    "overall_consistency": (0.0, 0.364),
}
"""Raw values that are mapped to 0 and to 1; all other dimensions are used unchanged."""
QUALITY_SHARE, SEMANTIC_SHARE = 4, 1
PLAIN_MEANS = {
    "plain_mean_memrope": (
        "aesthetic_quality",
        "background_consistency",
        "imaging_quality",
        "motion_smoothness",
        "subject_consistency",
        "temporal_flickering",
    ),
    "plain_mean_videomla": (
        "aesthetic_quality",
        "background_consistency",
        "dynamic_degree",
        "imaging_quality",
        "motion_smoothness",
        "subject_consistency",
    ),
}
"""Means of six raw dimensions, by the paper that prints them. The two sets differ in one dimension, so these means
cannot be compared."""

_SATURATES = "near 1 for a video that stands still, so read it beside dynamic_degree"
DIMENSIONS = {
    "subject_consistency": ("share", "higher", f"the subject within clips and across them; {_SATURATES}", 0.0, 1.0),
    "subject_consistency_in_clip": ("share", "higher", f"DINO cosine within clips; {_SATURATES}", 0.0, 1.0),
    "subject_consistency_across_clips": (
        "share",
        "higher",
        f"DINOv2 cosine of clips' first frames; {_SATURATES}",
        0,
        1,
    ),
    "background_consistency": ("share", "higher", f"the scene within clips and across them; {_SATURATES}", 0.0, 1.0),
    "background_consistency_in_clip": ("share", "higher", f"CLIP cosine within clips; {_SATURATES}", 0.0, 1.0),
    "background_consistency_across_clips": (
        "share",
        "higher",
        f"DreamSim cosine of clips' first frames; {_SATURATES}",
        0.0,
        1.0,
    ),
    "temporal_flickering": ("share", "higher", f"1 minus the change from frame to frame; {_SATURATES}", 0.0, 1.0),
    "motion_smoothness": ("share", "higher", f"how well every other frame is predicted; {_SATURATES}", 0.0, 1.0),
    "dynamic_degree": ("share", "higher", "clips with much motion (RAFT)", 0.0, 1.0),
    "aesthetic_quality": ("share", "higher", "LAION aesthetic predictor, a tenth of it", None, None),
    "imaging_quality": ("share", "higher", "MUSIQ, a hundredth of it", None, None),
    "object_class": ("share", "higher", "frames in which the object is detected (GRiT)", 0.0, 1.0),
    "multiple_objects": ("share", "higher", "frames in which both objects are detected (GRiT)", 0.0, 1.0),
    "human_action": ("share", "higher", "clips whose action is recognised (UMT)", 0.0, 1.0),
    "color": ("share", "higher", "frames in which the object has its colour (GRiT)", 0.0, 1.0),
    "spatial_relationship": ("share", "higher", "how far the objects stand as the prompt says (GRiT)", 0.0, 1.0),
    "scene": ("share", "higher", "frames whose caption names the scene (Tag2Text)", 0.0, 1.0),
    "appearance_style": ("cosine", "higher", "picture and style (CLIP)", -1.0, 1.0),
    "temporal_style": ("cosine", "higher", "video and prompt about camera and pace (ViCLIP)", -1.0, 1.0),
    "overall_consistency": ("cosine", "higher", "video and prompt (ViCLIP)", -1.0, 1.0),
}
"""Values of a viewer for each video: unit, better direction, description, and bounds where there are any."""
SCORES = {
    "quality_score": ("%", "higher", "weighted mean of seven normalised dimensions", None, None),
    "semantic_score": ("%", "higher", "mean of nine normalised dimensions", None, None),
    "total_score": ("%", "higher", "quality and semantic score, 4 to 1", None, None),
    "plain_mean_memrope": ("%", "higher", "mean of six raw dimensions, flickering among them, motion not", None, None),
    "plain_mean_videomla": ("%", "higher", "mean of six raw dimensions, dynamic degree among them", None, None),
}
"""Scores derived from the dimensions, with the same five entries."""


@cache
def tables() -> dict[str, Any]:
    """Return the configuration tables of VBench-Long: clip lengths, weights, mappings."""
    found: dict[str, Any] = json.loads(TABLES.read_text(encoding="utf-8"))
    return found


def tables_digest() -> str:
    """Return the SHA-256 of the tables, for the record."""
    return hashlib.sha256(TABLES.read_bytes()).hexdigest()


def normalised(dimension: str, raw: float) -> float:
    """Return a raw value on the scale on which scores are averaged; outside 0..1 where it exceeds VBench's range."""
    low, high = RANGES.get(dimension, (0.0, 1.0))
    return (raw - low) / (high - low)


def total(quality: float, semantic: float) -> float:
    """Return the total score, in the unit of the two scores."""
    return (QUALITY_SHARE * quality + SEMANTIC_SHARE * semantic) / (QUALITY_SHARE + SEMANTIC_SHARE)


def scores(raw: Mapping[str, float]) -> dict[str, float]:
    """Return those of `SCORES` whose dimensions are all present, in per cent. raw: values of VBench, 0..1.

    Average over a whole set of videos first; the scores are then those that papers print.
    """
    found = {}
    if all(name in raw for name in QUALITY):
        weighted = sum(weight * normalised(name, raw[name]) for name, weight in QUALITY.items())
        found["quality_score"] = 100 * weighted / sum(QUALITY.values())
    if all(name in raw for name in SEMANTIC):
        found["semantic_score"] = 100 * sum(normalised(name, raw[name]) for name in SEMANTIC) / len(SEMANTIC)
    if "quality_score" in found and "semantic_score" in found:
        found["total_score"] = total(found["quality_score"], found["semantic_score"])
    for name, parts in PLAIN_MEANS.items():
        if all(part in raw for part in parts):
            found[name] = 100 * sum(raw[part] for part in parts) / len(parts)
    return found


def mapped(across: float, table: Sequence[Sequence[float]]) -> float:
    """Return a clip-to-clip value on the scale of in-clip values: linear between the entries, constant beyond them.

    table: (clip-to-clip, in-clip) pairs, rising.
    """
    place = bisect_left(table, across, key=lambda entry: entry[0])
    if place in (0, len(table)):
        return table[min(place, len(table) - 1)][1]
    (x0, y0), (x1, y1) = table[place - 1], table[place]
    return y0 + (y1 - y0) * (across - x0) / (x1 - x0)


def combined(dimension: str, in_clip: float, across: float | None) -> float:
    """Return a consistency dimension as VBench-Long with its dev flag: the mean of in-clip and mapped clip-to-clip.

    across: None where there is only one clip. As in VBench-Long, the in-clip value is returned then, and also where the
    mapped value is exactly 0. Without the dev flag the weights are 1 and 0, which gives `in_clip`. Raises KeyError for
    a dimension without a fast branch.
    """
    table, weights = tables()["mapping"][dimension], tables()["weights"]
    far = 0.0 if across is None else mapped(across, table)
    return in_clip if far == 0 else weights["in_clip"] * in_clip + weights["across_clips"] * far


def averages(clips: Mapping[str, Sequence[float | None]]) -> tuple[float | None, float | None]:
    """Return a dimension over a set of videos, from values by clip: the mean over all clips, and that over videos.

    VBench-Long prints the first, in which a longer video counts more; records hold the terms of the second. They agree
    where all videos have equally many clips. Clips without a value (None) are ignored; None where no clip has one.
    """
    known = {film: there for film, values in clips.items() if (there := [each for each in values if each is not None])}
    if not known:
        return None, None
    everything = [value for values in known.values() for value in values]
    by_video = [sum(values) / len(values) for values in known.values()]
    return sum(everything) / len(everything), sum(by_video) / len(by_video)
