"""Charts of costs as data: chunk latencies, time and bytes over the video, and quality against costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.suite import Chart
from reports.arms import Entrant, entered, table_names
from reports.page.answer import first_table
from reports.page.values import short
from reports.sheets.columns import Placed
from reports.sheets.cost import speeds
from reports.statistics.bounded import Scale, bounded_interval

SHARES = np.linspace(0.005, 0.995, 100)
"""Shares of chunks at which the distribution of latencies is drawn."""
BINS = 20
"""Parts of a video over which times of single chunks are averaged, since they vary strongly."""
SAME = 0.01
"""Relative difference of costs below which two points coincide."""


def waits(samples: pd.DataFrame, field: Sequence[Entrant], chart: Chart) -> list[dict[str, Any]]:
    """Return the share of chunks that finished within a number of milliseconds, in the steady state."""
    panels = []
    for table in table_names(field):
        lines = []
        for name, label, mine in _by_cohort(samples, field, table):
            steady = mine.loc[mine["metric"] == "steady_from", "value"].max()
            chunks = mine[(mine["metric"] == "chunk_seconds") & (mine["at_frame"] > steady)]
            if len(chunks):
                times = 1000 * np.quantile(chunks["value"].to_numpy(float), SHARES)
                lines.append({
                    "arm": label, "name": name, "x": [short(time, 4) for time in times],
                    "y": [short(share, 3) for share in SHARES], "lo": [], "hi": [],
                    "n": [int(chunks["seed"].nunique())] * len(SHARES),
                })  # fmt: skip
        if lines:
            panels.append({"title": table, "n": _repeats(lines), "arms": lines})
    return [_chart(chart, "waits", "How long a chunk takes", "milliseconds to a chunk's pictures",
                   "chunks that are done (share)", panels, logx=True, range=[0, 1])] if panels else []  # fmt: skip


def over_the_video(table: pd.DataFrame, field: Sequence[Entrant], chart: Chart) -> list[dict[str, Any]]:
    """Return milliseconds of a chunk and bytes of the cache over the video, beside what is computed on paper."""
    made = []
    kinds = (
        ("chunk_seconds", "fps", "bound_seconds", 1e3, "Milliseconds of a chunk over the video", "ms a chunk (DiT)"),
        ("cache_bytes", "vram", "planned_cache_bytes", 1e-3, "Bytes of the cache over the video",
         "kB held between chunks"),
    )  # fmt: skip
    for metric, suite, paper, scale, title, unit in kinds:
        part = table[(table["suite"] == suite) & table["metric"].isin((metric, paper))]
        lines = []
        for name, label, mine in _by_cohort(part, field, table_names(field)[0]):
            values = mine[mine["metric"] == metric]
            if values.empty:
                continue
            points = _binned(values)
            planned = mine.loc[mine["metric"] == paper, "value"]
            lines.append({
                "arm": label, "name": name, "x": [short(point[0]) for point in points],
                **{key: [short(scale * point[place]) for point in points]
                   for place, key in ((1, "y"), (2, "lo"), (3, "hi"))},
                "n": [int(values["seed"].nunique())] * len(points),
                "paper": short(scale * planned.min()) if len(planned) else None,
            })  # fmt: skip
        if lines:
            panel = {"title": table_names(field)[0], "n": _repeats(lines), "arms": lines}
            made.append(_chart(chart, "cost", title, "seconds of video", unit, [panel], logy=True))
    return made


def price(
    column: Placed | None,
    rows: pd.DataFrame,
    field: Sequence[Entrant],
    cohorts: Mapping[str, str],
    marked: Mapping[str, str],
) -> dict[str, Any] | None:
    """Return quality against costs, with the front of the arms that none beats in both.

    Parameters
    ----------
    column
        The score of quality.
    cohorts
        Descriptions of the cohorts.
    marked
        Words about arms that are at a disadvantage: handicapped, untrained.
    """
    part = pd.DataFrame() if column is None else first_table(column, rows)
    if column is None or part.empty:
        return None
    caches = {entrant.label: entrant.cache_bytes / 1000 for entrant in field}
    costs = [(caches, "kB of cache a rollout, less is better", True)]
    measured = list(dict.fromkeys(rows.loc[rows["metric"] == "dit_fps", "cohort"]))
    for cohort in measured:
        where = f" ({cohorts.get(cohort, cohort)})" if len(measured) > 1 else ""
        costs.append((speeds(rows, cohort), f"pixel frames a second, more is better{where}", False))
    timed = list(dict.fromkeys(each for entrant in field for each in entrant.by_cohort))
    for cohort in timed if not measured else ():
        chunks = {e.label: e.by_cohort[cohort].chunk_ms for e in field if cohort in e.by_cohort}
        where = f" ({cohorts.get(cohort, cohort)})" if len(timed) > 1 else ""
        costs.append((chunks, f"ms a chunk of the whole batch, indicative, less is better{where}", True))
    first = part.iloc[0]
    panels = [_points(part, cost, label, cheap, marked) for cost, label, cheap in costs]
    unit = "s" if first["unit"] == "s" else first["unit"]
    return {
        "id": "price", "name": "price", "kind": "price", "title": "What quality costs", "suite": column.suite,
        "scenario": column.column.scenario, "metric": column.column.score,
        "y": f"{column.column.heading}{'' if unit == 's' else f' ({unit})'} after {first['horizon_seconds']:g} s",
        "range": [0, float(first["horizon_seconds"])] if unit == "s" else [0, 1] if unit == "share" else None,
        "panels": [panel for panel in panels if panel["arms"]],
    }  # fmt: skip


def _points(
    part: pd.DataFrame, cost: Mapping[str, float], label: str, cheap: bool, marked: Mapping[str, str]
) -> dict[str, Any]:
    arms = [
        {"arm": row.arm, "x": [short(cost[row.arm])], "y": [short(row.mean)], "lo": [short(row.low)],
         "hi": [short(row.high)], "n": [int(row.count)], "note": marked.get(row.arm, "")}
        for row in part.itertuples()
        if row.count and np.isfinite(cost.get(row.arm, np.nan)) and cost[row.arm] > 0
    ]  # fmt: skip
    span = max((each["y"][0] for each in arms), default=0) - min((each["y"][0] for each in arms), default=0)
    groups: list[list[int]] = []
    for place, each in enumerate(arms):
        for group in groups:
            first = arms[group[0]]
            close = abs(each["x"][0] / first["x"][0] - 1) <= SAME
            if close and abs(each["y"][0] - first["y"][0]) <= SAME * max(span, 1e-9):
                group.append(place)
                break
        else:
            groups.append([place])
    better = part["better"].iloc[0]
    return {"title": label, "cheap": cheap, "arms": arms, "groups": groups, "front": front(arms, cheap, better)}


def front(arms: Sequence[Mapping[str, Any]], cheap: bool, better: str = "higher") -> list[int]:
    """Return the places of points that no other one beats in both quality and cost, from the cheapest on."""
    sign, up = (1 if cheap else -1), (-1 if better == "lower" else 1)
    best: list[int] = []
    for place in sorted(range(len(arms)), key=lambda at: (sign * arms[at]["x"][0], -up * arms[at]["y"][0])):
        if not best or up * arms[place]["y"][0] > up * arms[best[-1]]["y"][0]:
            best.append(place)
    return best


def _chart(chart: Chart, kind: str, title: str, across: str, up: str, panels: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": chart.name, "kind": kind, "title": title, "about": "", "suite": "", "scenario": "", "metric": "",
        "x": across, "y": up, "range": None, "panels": panels, "scenes": [], **more,
    }  # fmt: skip


def _by_cohort(part: pd.DataFrame, field: Sequence[Entrant], table: str) -> list[tuple[str, str, pd.DataFrame]]:
    """Return name, label and rows of each arm, separately for each cohort where there are several."""
    cohorts = list(dict.fromkeys(part["cohort"]))
    made = []
    for entrant, mine in entered(part, field, table):
        for number, cohort in enumerate(cohorts, 1):
            there = mine[mine["cohort"] == cohort]
            if len(there):
                name = entrant.label if len(cohorts) == 1 else f"{entrant.label}, machine {number}"
                made.append((name, entrant.label, there))
    return made


def _binned(values: pd.DataFrame) -> list[tuple[float, float, float, float]]:
    """Return seconds, mean and interval over the launches, for each part of the video."""
    rate = values["horizon_seconds"].iloc[0] / values["horizon_latent_frames"].iloc[0]
    bins = np.ceil(BINS * values["at_frame"] / values["at_frame"].max())
    points = []
    for _, few in values.groupby(bins):
        means = few.groupby("seed", observed=True)["value"].mean()
        found = bounded_interval(means.to_numpy(float), means.index.to_numpy(), Scale(0))
        points.append((few["at_frame"].mean() * rate, found.mean, found.low, found.high))
    return points


def _repeats(lines: Sequence[Mapping[str, Any]]) -> str:
    counts = [line["n"][0] for line in lines]
    low, high = min(counts), max(counts)
    return f"n={low}" if low == high else f"n={low} to {high}"
