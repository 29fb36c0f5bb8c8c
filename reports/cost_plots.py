"""The pictures of what it costs: how long chunks take and how often, and time and bytes over the video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from reports.panels import dress, entered, keep, legend, logarithmic, panels_of, styles
from reports.plots import PALE
from reports.stats import interval
from reports.tables import Entrant, table_names


def waits(table: pd.DataFrame, field: Sequence[Entrant], path: Path) -> None:
    """Share of the chunks that came within so many milliseconds, in the steady state, switches apart."""
    part = table[table["suite"] == "latency"]
    panels = table_names(field)
    figure, axes = panels_of(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        for entrant, mine in entered(part, field, name):
            steady = mine.loc[mine["metric"] == "steady_from", "value"].max()
            chunks = mine[(mine["metric"] == "chunk_seconds") & (mine["at_frame"] > steady)]
            times = 1000 * np.sort(chunks["value"].to_numpy(float))
            shares = (np.arange(len(times)) + 1) / len(times)
            axis.step(times, shares, where="post", label=entrant.label, linewidth=1.8, **styles(field)[entrant.label])
        for share in (0.5, 0.9, 0.99):
            axis.axhline(share, color="#cccccc", linewidth=0.8, zorder=0)
        dress(axis, name, "milliseconds to a chunk's pictures", "share of chunks")
        axis.set_xscale("log")
        logarithmic(axis.xaxis)
    legend(figure, axes)
    keep(figure, path)


def over_the_video(table: pd.DataFrame, field: Sequence[Entrant], path: Path) -> None:
    """Milliseconds of a chunk and bytes of the cache as the video goes on, as published; dotted: the roofline of the
    device for the one, the plan for the other."""
    figure, axes = panels_of(2)
    name = table_names(field)[0]
    kinds = (
        ("chunk_seconds", "fps", "bound_seconds", 1e3, "milliseconds a chunk (DiT)"),
        ("cache_bytes", "vram", "planned_cache_bytes", 1e-3, "kB held between chunks"),
    )
    for axis, (metric, suite, paper, scale, label) in zip(axes, kinds, strict=True):
        for entrant, mine in entered(table, field, name):
            part = mine[(mine["suite"] == suite) & (mine["metric"] == metric)]
            if part.empty:
                continue
            rate = part["horizon_seconds"].iloc[0] / part["horizon_latent_frames"].iloc[0]
            style = styles(field)[entrant.label]
            # Single chunks jump about; a twentieth of the video does not.
            last = part["at_frame"].max()
            bins = np.ceil(20 * part["at_frame"] / last)
            points = []
            for _, few in part.groupby(bins):
                means = few.groupby("seed", observed=True)["value"].mean()
                found = interval(means.to_numpy(float), means.index.to_numpy())
                points.append((few["at_frame"].mean() * rate, found.mean, found.low, found.high))
            times, means, lows, highs = np.array(points).T
            axis.plot(times, scale * means, label=entrant.label, linewidth=1.8, **style)
            if np.isfinite(lows).all():
                axis.fill_between(times, scale * lows, scale * highs, color=style["color"], alpha=0.12, linewidth=0)
            planned = mine.loc[mine["metric"] == paper, "value"]
            if len(planned):
                axis.axhline(scale * planned.min(), color=style["color"], linewidth=1, linestyle=":")
        axis.plot([], [], color=PALE, linewidth=1, linestyle=":", label="on paper: roofline, plan")
        dress(axis, "", "seconds of video", label)
        axis.set_yscale("log")
        logarithmic(axis.yaxis)
    legend(figure, axes)
    keep(figure, path)
