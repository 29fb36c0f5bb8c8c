"""Charts of the page as data: what a suite declares, with its intervals, its gaps, and the arms that coincide."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.campaign.campaign import PUBLISHED
from harness.store.cells import Stored
from harness.suite import Chart
from reports.arms import Entrant, entered, table_names
from reports.page import cost_charts
from reports.page.summary_charts import heat, profile
from reports.page.values import short
from reports.plots.drift import common_rows
from reports.plots.interactive import SHOWN
from reports.sheets.columns import Shown
from reports.statistics.bounded import wilson
from reports.statistics.curves import Curves, CurveSource
from reports.tables import suite_named

CLOSE = 0.005
"""Share of a chart's range below which two curves are one line to the eye."""
LONG = 26
"""Most characters of a prompt that stands above its scene."""


def charts(
    table: pd.DataFrame,
    scored: pd.DataFrame,
    curves: CurveSource,
    rows: pd.DataFrame,
    field: Sequence[Entrant],
    cells: Sequence[Stored],
    shown: Shown,
    drawings: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the charts that the suites declare and for which there are numbers, in the suites' order.

    Parameters
    ----------
    table, scored, curves, rows
        All samples, the suites' scores of them, the curves over the videos, and the numbers of the comparison.
    drawings
        Names of the charts that suites have drawn by themselves; they have no panels.
    """
    made: list[dict[str, Any]] = []
    for suite, each in shown.displays.items():
        samples, mine = table[table["suite"] == suite], scored[scored["suite"] == suite]
        for chart in each.charts:
            if callable(chart.kind):
                made += [_chart(suite, chart, "drawing", _words(chart.name))] if chart.name in drawings else []
            elif chart.kind == "curve":
                made += _curve(curves, field, cells, suite, chart)
            elif chart.kind == "survival":
                made += _survival(mine, field, suite, chart)
            elif chart.kind == "switches":
                made += _switches(curves, field, cells, suite, chart)
            elif chart.kind == "precision":
                title = f"{_words(chart.metric)} by policy and bits of kept frames, {chart.scenario}"
                panels = heat(rows, field, suite, chart)
                made += [_chart(suite, chart, "precision", title, panels=panels)] if panels else []
            elif chart.kind == "profile":
                panels = profile(rows, field, suite, chart)
                axes: dict[str, Any] = {"x": chart.across, "y": chart.up, "logx": True}
                made += [_chart(suite, chart, "profile", _words(chart.name), panels=panels, **axes)] if panels else []
            elif chart.kind == "waits":
                made += cost_charts.waits(samples, field, chart)
            elif chart.kind == "cost" and not any(one["name"] == chart.name for one in made):
                made += cost_charts.over_the_video(table, field, chart)
    for number, one in enumerate(made):
        one["id"] = f"chart-{number}"
        for panel in one["panels"]:
            panel["groups"] = alike(panel["arms"], one.get("range"))
    return made


def alike(arms: Sequence[Mapping[str, Any]], bounds: Sequence[float] | None = None) -> list[list[int]]:
    """Return the places of curves that coincide, as groups: each curve is in one, with the first that it lies on.

    Parameters
    ----------
    arms
        Curves with `x` and `y`.
    bounds
        Range of the chart; None for that of its curves.
    """
    values = [value for each in arms for value in each["y"] if value is not None]
    low, high = bounds or (min(values, default=0), max(values, default=0))
    near = CLOSE * (high - low)
    groups: list[list[int]] = []
    for place, one in enumerate(arms):
        for group in groups:
            first = arms[group[0]]
            if one["x"] == first["x"] and all(
                (a is None) == (b is None) and (a is None or b is None or abs(a - b) <= near)
                for a, b in zip(one["y"], first["y"], strict=True)
            ):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _about(suite: str, metric: str) -> tuple[str, str, list[float] | None]:
    """Return what a metric is, its unit, and its range where that is a share."""
    found = suite_named(suite).metric_named(metric)
    if found is None:
        return "", "", None
    return found.about, found.unit, bounds_of(suite, metric)


def bounds_of(suite: str, metric: str) -> list[float] | None:
    """Return the range in which a metric is drawn: that of a share; None for what has no natural range."""
    found = suite_named(suite).metric_named(metric)
    return [0, 1] if found is not None and found.unit == "share" and found.low == 0 else None


def _words(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ")
    return f"{words[:1].upper()}{words[1:]}"


def _chart(suite: str, chart: Chart, kind: str, title: str, **more: Any) -> dict[str, Any]:
    """Return the data of a chart, whose metric says what it is about and its range unless `more` does."""
    about, unit, bounds = _about(suite, chart.metric)
    return {
        "name": chart.name, "kind": kind, "title": title, "about": about, "suite": suite, "scenario": chart.scenario,
        "metric": chart.metric, "x": "", "y": unit, "range": bounds, "panels": [], "scenes": [], **more,
    }  # fmt: skip


def _curve(
    curves: CurveSource, field: Sequence[Entrant], cells: Sequence[Stored], suite: str, chart: Chart
) -> list[dict[str, Any]]:
    panels = []
    for table in table_names(field):
        found = curves.of(suite, chart.scenario, chart.metric, field, table)
        if found is not None:
            panels.append({"title": table, "n": found.count, "arms": _lines(found)})
    if not panels:
        return []
    up = f"{chart.metric.replace('_', ' ')} ({_about(suite, chart.metric)[1]})"
    shaded = scenes(cells, suite, chart.scenario)
    title = f"{_words(chart.metric)}, {chart.scenario}"
    return [_chart(suite, chart, "curve", title, x="seconds of video", y=up, panels=panels, scenes=shaded)]


def _lines(found: Curves, begin: float = 0) -> list[dict[str, Any]]:
    """Return the curves of a panel; windows up to a curve's last one in which nothing was measured are gaps.

    begin: the latent frame from which seconds are counted.
    """
    made = []
    for label, points in found.points.items():
        at = {float(point[0]): (*point[1:], count) for point, count in zip(points, found.counts[label], strict=True)}
        mine = [float(end) for end in found.windows if points[0, 0] <= end <= points[-1, 0]]
        rows = [at.get(end, (np.nan, np.nan, np.nan, 0)) for end in mine]
        made.append({
            "arm": label, "name": found.names[label], "x": [short((end - begin) * found.seconds) for end in mine],
            **{key: [short(row[place], 4) for row in rows] for place, key in enumerate(("y", "lo", "hi"))},
            "n": [int(row[3]) for row in rows],
        })  # fmt: skip
    return made


def scenes(cells: Sequence[Stored], suite: str, scenario: str) -> list[dict[str, Any]]:
    """Return the scenes of a scenario with several prompts: seconds at which each begins and ends, and its name: the
    prompt where all rollouts have the same, else how it is entered."""
    mine = [c.about for c in cells if c.about["suite"] == suite and c.about["task"]["scenario"] == scenario]
    mine = [about for about in mine if about["status"] == "ok" and about["task"]["rows"]]
    if not mine:
        return []
    task, rate = mine[0]["task"], mine[0]["seconds_per_latent_frame"]
    scripts = [row["script"] for row in task["rows"]]
    starts = [start for start, _ in scripts[0]]
    kinds = task.get("boundaries") or ["smooth"] * len(starts)
    made = []
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], task["frames"]], strict=True)):
        texts = {script[number][1] for script in scripts if len(script) > number}
        text = next(iter(texts)) if len(texts) == 1 else ""
        name = text if text and len(text) <= LONG else (kinds[number] if number and number < len(kinds) else "")
        made.append({"from": short(start * rate), "to": short(stop * rate), "name": name})
    return made if len(made) > 1 else []


def _survival(scored: pd.DataFrame, field: Sequence[Entrant], suite: str, chart: Chart) -> list[dict[str, Any]]:
    part = scored[(scored["metric"] == chart.metric) & (scored["scenario"] == chart.scenario)]
    part = part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]
    panels = []
    for table in table_names(field):
        there = entered(part, field, table)
        shared = common_rows([mine for _, mine in there])
        lines = []
        for entrant, mine in there:
            whole = mine[shared(mine)]
            if whole.empty:
                continue
            horizon, lost = float(whole["horizon_seconds"].max()), np.sort(whole["value"].to_numpy(float))
            times = np.unique(np.concatenate(([0.0], lost[lost < horizon], [horizon])))
            left = [int((lost > time).sum()) if time < horizon else int((lost >= horizon).sum()) for time in times]
            ends = [wilson(alive, len(lost)) for alive in left]
            lines.append({
                "arm": entrant.label, "name": entrant.label, "x": [short(time) for time in times],
                "y": [short(alive / len(lost), 4) for alive in left], "lo": [short(low, 4) for low, _ in ends],
                "hi": [short(high, 4) for _, high in ends], "n": [len(lost)] * len(times),
            })  # fmt: skip
        if lines:
            panels.append({"title": table, "n": f"n={lines[0]['n'][0]}", "arms": lines})
    if not panels:
        return []
    axes: dict[str, Any] = {"x": "seconds of video", "y": "rollouts that are still themselves (share)"}
    return [_chart(suite, chart, "survival", f"Survival, {chart.scenario}", range=[0, 1], panels=panels, **axes)]


def _switches(
    curves: CurveSource, field: Sequence[Entrant], cells: Sequence[Stored], suite: str, chart: Chart
) -> list[dict[str, Any]]:
    """Return small multiples, one panel a scene: what is counted changes at a switch, so no line crosses one."""
    made = []
    spans = scenes(cells, suite, chart.scenario)
    for metric, title in SHOWN:
        found = curves.of(suite, chart.scenario, metric, field, PUBLISHED)
        if found is None or not spans:
            continue
        panels = []
        for number, span in enumerate(spans):
            first, last = span["from"] / found.seconds, span["to"] / found.seconds
            within = {label: (points[:, 0] > first) & (points[:, 0] <= last) for label, points in found.points.items()}
            points = {label: found.points[label][some] for label, some in within.items() if some.any()}
            if points:
                counts = {label: found.counts[label][some] for label, some in within.items()}
                windows = np.unique(np.concatenate([each[:, 0] for each in points.values()]))
                name = f"{number}. {span['name']}" if number else "first scene"
                lines = _lines(replace(found, points=points, counts=counts, windows=windows), first)
                panels.append({"title": name, "n": found.count, "arms": lines})
        about, unit, bounds = _about(suite, metric)
        made.append({
            "name": f"{chart.name}-{metric.replace('_', '-')}", "kind": "multiples",
            "title": f"{title[:1].upper()}{title[1:]}, {chart.scenario}", "about": about, "suite": suite,
            "scenario": chart.scenario, "metric": metric, "x": "seconds since the switch", "y": unit, "range": bounds,
            "panels": panels, "scenes": [],
        })  # fmt: skip
    return made
