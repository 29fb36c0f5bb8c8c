"""Cost plots: the distribution of chunk latencies, and time and bytes over the video.

Where a folder has measurements of several machines, each has its own line style.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.arms import entered, table_names
from reports.plots.panels import DASHES, Cast, dress, keep, legend, logarithmic, panels_of
from reports.plots.strips import PALE
from reports.statistics.bounded import Scale, bounded_interval


def waits(table: pd.DataFrame, cast: Cast, path: Path) -> None:
    """Draw the share of chunks that finished within a number of milliseconds, in the steady state; switches apart."""
    part = table[table["suite"] == "latency"]
    panels = table_names(cast.field)
    figure, axes = panels_of(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        repeats = set()
        for label, style, mine in _lines(part, cast, name):
            steady = mine.loc[mine["metric"] == "steady_from", "value"].max()
            chunks = mine[(mine["metric"] == "chunk_seconds") & (mine["at_frame"] > steady)]
            repeats.add(mine["seed"].nunique())
            times = 1000 * np.sort(chunks["value"].to_numpy(float))
            shares = (np.arange(len(times)) + 1) / len(times)
            axis.step(times, shares, where="post", label=label, linewidth=1.8, **style)
        for share in (0.5, 0.9, 0.99):
            axis.axhline(share, color="#cccccc", linewidth=0.8, zorder=0)
        dress(axis, f"{name}{_repeats(repeats)}", "milliseconds to a chunk's pictures", "share of chunks")
        axis.set_xscale("log")
        logarithmic(axis.xaxis)
    legend(figure, axes)
    keep(figure, path)


def over_the_video(table: pd.DataFrame, cast: Cast, path: Path) -> None:
    """Draw milliseconds of a chunk and bytes of the cache over the video, for the table of published arms. Dotted
    lines: the device's roofline for the time, the plan for the bytes."""
    figure, axes = panels_of(2)
    name = table_names(cast.field)[0]
    kinds = (
        ("chunk_seconds", "fps", "bound_seconds", 1e3, "milliseconds a chunk (DiT)"),
        ("cache_bytes", "vram", "planned_cache_bytes", 1e-3, "kB held between chunks"),
    )
    for axis, (metric, suite, paper, scale, title) in zip(axes, kinds, strict=True):
        repeats = set()
        for label, style, mine in _lines(table, cast, name):
            part = mine[(mine["suite"] == suite) & (mine["metric"] == metric)]
            if part.empty:
                continue
            repeats.add(part["seed"].nunique())
            rate = part["horizon_seconds"].iloc[0] / part["horizon_latent_frames"].iloc[0]
            # Times of single chunks vary strongly; means over a twentieth of the video do not.
            last = part["at_frame"].max()
            bins = np.ceil(20 * part["at_frame"] / last)
            points = []
            for _, few in part.groupby(bins):
                means = few.groupby("seed", observed=True)["value"].mean()
                found = bounded_interval(means.to_numpy(float), means.index.to_numpy(), Scale(0))
                points.append((few["at_frame"].mean() * rate, found.mean, found.low, found.high))
            times, means, lows, highs = np.array(points).T
            axis.plot(times, scale * means, label=label, linewidth=1.8, **style)
            if np.isfinite(highs).all():
                axis.fill_between(times, scale * lows, scale * highs, color=style["color"], alpha=0.12, linewidth=0)
            planned = mine.loc[mine["metric"] == paper, "value"]
            if len(planned):
                axis.axhline(scale * planned.min(), color=style["color"], linewidth=1, linestyle=":")
        axis.plot([], [], color=PALE, linewidth=1, linestyle=":", label="computed: roofline, plan")
        dress(axis, _repeats(repeats).removeprefix(", "), "seconds of video", title)
        axis.set_yscale("log")
        logarithmic(axis.yaxis)
    legend(figure, axes)
    keep(figure, path)


def _lines(part: pd.DataFrame, cast: Cast, table: str) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Yield label, line style and rows of each arm, separately for each cohort where there are several."""
    for entrant, mine in entered(part, cast.field, table):
        look = dict(cast.looks[entrant.label])
        if "cohort" not in mine or len(cast.cohorts) < 2:
            yield entrant.label, look, mine
            continue
        for place, cohort in enumerate(cast.cohorts):
            there = mine[mine["cohort"] == cohort]
            if len(there):
                yield f"{entrant.label}, {cohort}", {**look, "linestyle": DASHES[place % len(DASHES)]}, there


def _repeats(counts: set[int]) -> str:
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    return f", n={low}" if low == high else f", n={low} to {high}"
