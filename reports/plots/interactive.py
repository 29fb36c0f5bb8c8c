"""Plots of the interactive suite: visible attributes of each scene over time, with the switches marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.campaign.campaign import PUBLISHED
from reports.plots.panels import Cast, dress, keep, legend, panels_of
from reports.plots.strips import INK
from reports.statistics.curves import CurveSource

SHOWN = (
    ("new_scene", "attributes that the switch changes"),
    ("old_scene", "attributes that must disappear"),
    ("first_scene", "attributes of the first scene"),
)


def attributes(
    source: CurveSource,
    cast: Cast,
    suite: str,
    scenario: str,
    switches: Sequence[tuple[int, str]],
    path: Path,
) -> None:
    """Draw the share of attributes seen, with 95 % intervals: one row each for the new, the old and the first scene.

    switches: (latent frame, kind) of each.
    """
    figure, axes = panels_of(1, len(SHOWN))
    for axis, (metric, title) in zip(axes, SHOWN, strict=True):
        found = source.of(suite, scenario, metric, cast.field, PUBLISHED)
        if found is None:
            continue
        seconds = found.seconds
        for label, points in found.points.items():
            style = cast.looks[label]
            # Markers distinguish curves that lie on top of each other.
            marker: dict[str, Any] = {"marker": cast.marks[label], "markersize": 3.5}
            for piece in _pieces(points, [at for at, _ in switches]):
                times, means, lows, highs = piece.T
                axis.plot(seconds * times, means, label=found.names[label], linewidth=1.6, **marker, **style)
                axis.fill_between(seconds * times, lows, highs, color=style["color"], alpha=0.1, linewidth=0)
        for at, kind in switches:
            axis.axvline(at * seconds, color=INK, linewidth=0.8, linestyle=":")
            if axis is axes[0]:
                axis.annotate(kind, (at * seconds, 1.06), fontsize=8, color=INK, annotation_clip=False)
        dress(axis, "", "seconds of video" if axis is axes[-1] else "", f"{title}\n{found.count}")
        axis.set_ylim(-0.02, 1.04)
        axis.set_xlim(left=0)
    figure.align_ylabels(axes)
    legend(figure, axes)
    keep(figure, path)


def _pieces(points: np.ndarray, at: Sequence[float]) -> list[np.ndarray]:
    """Split a curve where a scene ends, because the counted attributes change there."""
    cuts = np.searchsorted(points[:, 0], at, side="right")
    return [piece for piece in np.split(points, cuts) if len(piece)]
