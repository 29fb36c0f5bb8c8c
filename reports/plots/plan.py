"""Plot of plans side by side: memory by owner, and the least time of a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.escaping import plot_text
from reports.plots.panels import logarithmic
from reports.plots.strips import COLOURS, INK, PALE, save

if TYPE_CHECKING:
    from harness.plan.device import Device
    from harness.plan.planning import Plan

WIDE = 50
"""Ratio of the longest to the shortest time above which bars have a logarithmic axis."""
PARTS = (
    ("weights", "weights_bytes"),
    ("cached", "cache_bytes"),
    ("laid out", "laid_out_bytes"),
    ("work of a chunk", "activation_bytes"),
)


def picture(plans: Sequence[tuple[str, Plan]], devices: Sequence[Device], path: Path, title: str) -> None:
    """Draw one row a strategy: memory by owner on the left, least chunk time on each device on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.3 + 0.42 * len(plans) * max(1, len(devices) / 2)), dpi=120, layout="constrained")
    memory, time = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(plans))[::-1]
    left = np.zeros(len(plans))
    for colour, (name, part) in zip(COLOURS, PARTS, strict=False):
        sizes = np.array([getattr(one, part) for _, one in plans]) / 1e9
        memory.barh(places, sizes, left=left, color=colour, height=0.65, label=name)
        left += sizes
    for place, whole in zip(places, left, strict=True):
        memory.text(whole, place, f" {whole:.1f}", va="center", fontsize=8, color=INK)
    names = [plot_text(f"{name} ({one.latent_frames} frames)") for name, one in plans]
    memory.set_yticks(places, names, fontsize=8, parse_math=False)
    memory.set_xlabel("GB")
    memory.set_xlim(0, 1.12 * left.max())
    for device in devices:
        if device.memory / 1e9 < left.max() * 1.1:
            memory.axvline(device.memory / 1e9, color=PALE, linewidth=1, linestyle="--")
            memory.text(device.memory / 1e9, places[0] + 0.5, device.name, fontsize=7, color=PALE, ha="center")
    memory.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    height = 0.7 / len(devices)
    spans = [1000 * one.bound(device).chunk_seconds for _, one in plans for device in devices]
    shortest, longest = min(spans), max(spans)
    for number, (colour, device) in enumerate(zip(COLOURS * 2, devices, strict=False)):
        bounds = [one.bound(device) for _, one in plans]
        spots = places + 0.35 - height * (number + 0.5)
        spans = [1000 * bound.chunk_seconds for bound in bounds]
        time.barh(spots, spans, color=colour, height=0.9 * height, label=device.name)
        for spot, span, (_, one), bound in zip(spots, spans, plans, bounds, strict=True):
            text = f" {one.frames_per_second(bound.chunk_seconds):.3g} FPS, {bound.binding}"
            time.text(span, spot, text, va="center", fontsize=7, color=INK)
    time.set_xlabel("least time of a chunk (ms)")
    if longest > WIDE * shortest:
        time.set_xscale("log")
        logarithmic(time.xaxis)
        time.set_xlim(shortest / 2, longest * (longest / shortest) ** 0.35)
    else:
        time.set_xlim(0, 1.35 * longest)
    time.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for axes in (memory, time):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2, axis="x")
    figure.suptitle(title, fontsize=10, color=INK, x=0.01, ha="left")
    save(figure, path)
