"""Plots of a comparison: curves, survival, cost against quality, filmstrips side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd
import torch

from harness.campaign.campaign import PUBLISHED
from harness.store.cells import Stored
from reports.arms import Entrant, entered, table_names
from reports.plots.panels import Cast, dress, front, keep, legend, panels_of
from reports.plots.strips import filmstrip
from reports.statistics.curves import CurveSource
from reports.statistics.paired import common

WIDE = 44
"""Characters in a line of a panel's title."""


def curves(source: CurveSource, cast: Cast, suite: str, scenario: str, metric: str, path: Path) -> None:
    """Draw a metric over the length of the video, with 95 % intervals: a panel for each table of the report; draw
    nothing without numbers."""
    panels = [(name, source.of(suite, scenario, metric, cast.field, name)) for name in table_names(cast.field)]
    if not any(found for _, found in panels):
        return
    figure, axes = panels_of(len(panels))
    for axis, (name, found) in zip(axes, panels, strict=True):
        if found is None:
            dress(axis, name, "seconds of video", "")
            continue
        for label, points in found.points.items():
            times, means, lows, highs = points.T
            style = cast.looks[label]
            axis.plot(found.seconds * times, means, label=found.names[label], linewidth=1.8, **style)
            axis.fill_between(found.seconds * times, lows, highs, color=style["color"], alpha=0.12, linewidth=0)
        dress(axis, f"{name}, {found.count}", "seconds of video", f"{metric.replace('_', ' ')} ({found.unit})")
        if found.unit == "share":
            axis.set_ylim(-0.02, 1.02)
    legend(figure, axes)
    keep(figure, path)


def survival(scored: pd.DataFrame, cast: Cast, scenario: str, metric: str, path: Path) -> None:
    """Draw the share of rollouts that have not lost their scene yet, over the length of the video."""
    part = scored[(scored["metric"] == metric) & (scored["scenario"] == scenario)]
    part = part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]
    panels = table_names(cast.field)
    figure, axes = panels_of(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        there = entered(part, cast.field, name)
        rollouts = common_rows([mine for _, mine in there])
        count = 0
        for entrant, mine in there:
            whole = mine[rollouts(mine)]
            if whole.empty:
                continue
            count = len(whole)
            horizon, lost = whole["horizon_seconds"].max(), np.sort(whole["value"].to_numpy(float))
            gone = lost[lost < horizon]
            times = np.concatenate(([0], gone, [horizon]))
            left = 1 - np.concatenate((np.arange(len(gone) + 1), [len(gone)])) / len(lost)
            axis.step(times, left, where="post", label=entrant.label, linewidth=1.8, **cast.looks[entrant.label])
        dress(axis, f"{name}, n={count}", "seconds of video", "surviving rollouts (share)")
        axis.set_ylim(-0.02, 1.02)
    legend(figure, axes)
    keep(figure, path)


def price(
    rows: pd.DataFrame,
    cast: Cast,
    title: str,
    path: Path,
    speeds: Sequence[tuple[str, Mapping[str, float]]],
    called: Mapping[str, str],
) -> None:
    """Draw quality against costs, and the Pareto front of the arms.

    Parameters
    ----------
    rows
        Numbers of the headline score, one an arm.
    speeds
        Pixel frames a second by arm, with the description of their cohort; where they were not measured, milliseconds a
        chunk of the quality cells are drawn instead.
    called
        Descriptions of the cohorts.
    """
    caches = {entrant.label: entrant.cache_bytes / 1000 for entrant in cast.field}
    costs: list[tuple[Mapping[str, float], str, bool, str]] = [(caches, "cache, kB a rollout", True, "")]
    costs += [(found, "pixel frames a second", False, name) for name, found in speeds]
    if not speeds:
        there = dict.fromkeys(each for entrant in cast.field for each in entrant.by_cohort)
        for cohort in there:
            chunks = {e.label: e.by_cohort[cohort].chunk_ms for e in cast.field if cohort in e.by_cohort}
            name = called.get(cohort, "") if len(there) > 1 else ""
            costs.append((chunks, "ms a chunk of the whole batch (indicative)", True, name))
    figure, axes = panels_of(len(costs))
    for axis, (cost, label, cheap, name) in zip(axes, costs, strict=True):
        points = {row.arm: row for row in rows.drop_duplicates("arm").itertuples() if row.arm in cost and row.count}
        points = {arm: row for arm, row in points.items() if arm in cast.looks and np.isfinite(cost[arm])}
        if points:
            front(axis, [(cost[arm], row.mean) for arm, row in points.items()], cheap)
        for arm, row in points.items():
            style = cast.looks[arm]
            reach = [[row.mean - row.low], [row.high - row.mean]]
            axis.errorbar(
                cost[arm],
                row.mean,
                yerr=reach if np.isfinite(reach).all() else None,
                fmt=cast.marks[arm],
                color=style["color"],
                markerfacecolor=style["color"] if style["linestyle"] == "-" else "white",
                capsize=2,
                label=arm,
            )
        dress(axis, "\n".join(wrap(name, WIDE)), label, title)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(0, 1.05 * max(axis.get_xlim()[1], *(cost[arm] for arm in points), 0))
    legend(figure, axes)
    keep(figure, path)


def strips(cells: Sequence[Stored], field: Sequence[Entrant], scenario: str, path: Path) -> None:
    """Draw the same prompt and seed under every strategy, one below the other, for the table of published arms; draw
    nothing without pictures."""
    mine = [cell for cell in cells if cell.status == "ok" and cell.about["task"]["scenario"] == scenario]
    longest = max((cell.about["task"]["frames"] for cell in mine), default=0)
    # A scenario may have many films; one prompt is shown.
    shown = next((cell.about["task"]["rows"] for cell in mine if cell.about["task"]["frames"] == longest), None)
    alike = [cell for cell in mine if cell.about["task"]["frames"] == longest and cell.about["task"]["rows"] == shown]
    rows, labels, times = [], [], []
    for entrant in field:
        for cell in alike if PUBLISHED in entrant.tables else ():
            if cell.about["strategy"] == entrant.strategy and cell.about["knobs"] == entrant.values:
                pictures = cell.pictures()
                if "strip" not in pictures:
                    continue
                rows.append(torch.from_numpy(pictures["strip"][0].astype(np.float32)) / 255)
                labels.append(entrant.label)
                times = [f"{frame * cell.about['seconds_per_latent_frame']:g} s" for frame in pictures["frames"]]
    if rows:
        filmstrip(rows, path, times, labels)


def common_rows(parts: Sequence[pd.DataFrame]) -> Callable[[pd.DataFrame], np.ndarray]:
    """Return a function that selects the rows of an arm whose rollouts all arms have."""
    keys = [set(zip(part["prompt"], part["seed"], strict=True)) for part in parts]
    every = sorted(set().union(*keys))
    rollouts, _ = common(np.array([[key in mine for mine in keys] for key in every]).reshape(len(every), len(keys)))
    shared = {key for key, is_shared in zip(every, rollouts, strict=True) if is_shared}
    return lambda part: np.array([key in shared for key in zip(part["prompt"], part["seed"], strict=True)], bool)
