"""The pictures of a comparison: curves, survival, cost against quality, filmstrips side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from harness.campaign import PUBLISHED
from harness.store import Store
from reports.panels import dress, entered, front, keep, legend, mark, panels_of, styles, unit
from reports.plots import filmstrip
from reports.stats import interval
from reports.tables import Entrant, table_names


def curves(table: pd.DataFrame, field: Sequence[Entrant], metric: str, scenario: str, path: Path) -> None:
    """A metric over the length of the video, with 95 % intervals: a panel for each table of the report."""
    part = table[(table["metric"] == metric) & (table["scenario"] == scenario)]
    panels = table_names(field)
    figure, axes = panels_of(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        for entrant, mine in entered(part, field, name):
            points = []
            for end, values in mine.dropna(subset="value").groupby("at_frame"):
                seconds = values["horizon_seconds"].iloc[0] / values["horizon_latent_frames"].iloc[0]
                found = interval(values["value"].to_numpy(float), values["seed"].to_numpy())
                points.append((end * seconds, found.mean, found.low, found.high))
            times, means, lows, highs = np.array(points).T
            style = styles(field)[entrant.label]
            axis.plot(times, means, label=entrant.label, linewidth=1.8, **style)
            axis.fill_between(times, lows, highs, color=style["color"], alpha=0.12, linewidth=0)
        dress(axis, name, "seconds of video", f"{metric.replace('_', ' ')} ({unit(part)})")
        if unit(part) == "share":
            axis.set_ylim(-0.02, 1.02)
    legend(figure, axes)
    keep(figure, path)


def survival(scored: pd.DataFrame, field: Sequence[Entrant], scenario: str, path: Path) -> None:
    """Share of the rollouts that are still themselves, over the length of the video."""
    part = scored[(scored["metric"] == "survival") & (scored["scenario"] == scenario)]
    panels = table_names(field)
    figure, axes = panels_of(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        for entrant, mine in entered(part, field, name):
            whole = mine[mine["horizon_latent_frames"] == mine["horizon_latent_frames"].max()]
            horizon, lost = whole["horizon_seconds"].max(), np.sort(whole["value"].to_numpy(float))
            gone = lost[lost < horizon]
            times = np.concatenate(([0], gone, [horizon]))
            left = 1 - np.concatenate((np.arange(len(gone) + 1), [len(gone)])) / len(lost)
            axis.step(times, left, where="post", label=entrant.label, linewidth=1.8, **styles(field)[entrant.label])
        dress(axis, name, "seconds of video", "still itself (share of rollouts)")
        axis.set_ylim(-0.02, 1.02)
    legend(figure, axes)
    keep(figure, path)


def price(
    rows: pd.DataFrame, field: Sequence[Entrant], title: str, path: Path, speeds: Mapping[str, float] | None = None
) -> None:
    """Quality against what it costs, and the arms that no other beats in both: cached bytes, and pixel frames a second
    by arm where they were measured, else milliseconds a chunk as they happened to be."""
    figure, axes = panels_of(2)
    caches = {entrant.label: entrant.cache_bytes / 1000 for entrant in field}
    chunks = {entrant.label: entrant.chunk_ms for entrant in field}
    slow = (chunks, "ms a chunk of the whole batch (indicative)", True)
    costs = ((caches, "cache, kB a rollout", True), (speeds, "pixel frames a second", False) if speeds else slow)
    for axis, (cost, label, cheap) in zip(axes, costs, strict=True):
        points = {row.arm: row for row in rows.drop_duplicates("arm").itertuples() if row.arm in cost}
        front(axis, [(cost[arm], row.mean) for arm, row in points.items()], cheap)
        for arm, row in points.items():
            style = styles(field)[arm]
            axis.errorbar(
                cost[arm],
                row.mean,
                yerr=[[row.mean - row.low], [row.high - row.mean]],
                fmt=mark(field, arm),
                color=style["color"],
                markerfacecolor=style["color"] if style["linestyle"] == "-" else "white",
                capsize=2,
                label=arm,
            )
        dress(axis, "", label, title)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(0, 1.05 * max(axis.get_xlim()[1], *(cost[arm] for arm in points)))
    legend(figure, axes)
    keep(figure, path)


def strips(store: Store, field: Sequence[Entrant], scenario: str, path: Path) -> None:
    """The same prompt and seed under every strategy, one below the other, as published; nothing without pictures."""
    cells = [cell for cell in store.cells() if cell.status == "ok" and cell.about["task"]["scenario"] == scenario]
    longest = max((cell.about["task"]["frames"] for cell in cells), default=0)
    # Of many films of a scenario, one prompt's.
    shown = next((cell.about["task"]["rows"] for cell in cells if cell.about["task"]["frames"] == longest), None)
    rows, labels, times = [], [], []
    for entrant in field:
        for cell in cells:
            task = cell.about["task"]
            alike = task["frames"] == longest and task["rows"] == shown
            same = cell.about["strategy"] == entrant.strategy and alike
            if same and cell.about["knobs"] == entrant.values and PUBLISHED in entrant.tables:
                pictures = cell.pictures()
                if "strip" not in pictures:
                    continue
                rows.append(torch.from_numpy(pictures["strip"][0]) / 255)
                labels.append(entrant.label)
                times = [f"{frame * cell.about['seconds_per_latent_frame']:g} s" for frame in pictures["frames"]]
    if rows:
        filmstrip(rows, path, times, labels)
