"""All the pictures of a report, each where a campaign has something for it to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store.store import Store
from reports.arms import Entrant
from reports.columns import HEADLINE, LOOKED_AT, SIX
from reports.cost import speeds
from reports.plots import cost as cost_plots
from reports.plots import drift as drift_plots
from reports.plots import interactive as interactive_plots
from reports.plots.panels import cast
from reports.statistics.comparison import Comparison

CURVES = (("steady", "unsaid_identity"), ("steady", "motion"), ("occlusion", "unsaid_identity"))
STRIPS = ("steady", "occlusion", "recall-21", SIX, "recall", "six")


def draw_all(
    folder: Path,
    store: Store,
    table: pd.DataFrame,
    scored: pd.DataFrame,
    found: Comparison,
    field: Sequence[Entrant],
    cohorts: Mapping[str, str],
) -> list[Path]:
    """Draw what there is to see into a folder; returns the pictures.

    Parameters
    ----------
    store
        Whose cells' pictures make the filmstrips.
    table, scored
        All samples, and what the suites make of them.
    cohorts
        What each cohort is, in words.
    """
    made = []
    players = cast(field, found.baseline, list(cohorts) or [""])

    def keep(name: str, draw: Any, *arguments: Any) -> None:
        path = folder / f"{name}.png"
        # What an earlier report drew there is not of these numbers.
        path.unlink(missing_ok=True)
        draw(*arguments, path)
        if path.exists():
            made.append(path)

    there = set(zip(table["scenario"], table["metric"], strict=True))
    for scenario, metric in CURVES:
        if (scenario, metric) in there:
            keep(f"{scenario}-{metric}", drift_plots.curves, table, players, metric, scenario)
    if "psnr" in set(table["metric"]):
        for metric in LOOKED_AT:
            if ("steady", metric) in there:
                keep(f"steady-{metric}", drift_plots.curves, table, players, metric, "steady")
    if "survival" in set(scored["metric"]):
        keep("steady-survival", drift_plots.survival, scored, players, "steady")
    rows = found.rows
    part = rows[(rows["scenario"] == HEADLINE[0]) & (rows["metric"] == HEADLINE[1])]
    if len(part):
        part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
        title = f"unsaid identity after {part['horizon_seconds'].iloc[0]:g} s, n={part['count'].max()}"
        measured = list(dict.fromkeys(rows.loc[rows["metric"] == "dit_fps", "cohort"]))
        known = [(cohorts.get(each, each) if len(measured) > 1 else "", speeds(rows, each)) for each in measured]
        path = folder / "cost-and-quality.png"
        drift_plots.price(part, players, title, path, known)
        made.append(path)
    suites = set(table["suite"])
    if "latency" in suites:
        keep("chunk-latency", cost_plots.waits, table, players)
    if {"fps", "vram"} & suites:
        keep("cost-over-the-video", cost_plots.over_the_video, table, players)
    cells = list(store.cells())
    if (SIX, "new_scene") in there:
        switches = next(
            [(scene[0], kind) for scene, kind in zip(task["rows"][0]["script"], task["boundaries"], strict=True)][1:]
            for cell in cells
            if (task := cell.about["task"])["scenario"] == SIX
        )
        keep("prompt-switches", interactive_plots.attributes, table, players, SIX, switches)
    for scenario in STRIPS:
        keep(f"{scenario}-filmstrips", drift_plots.strips, cells, players.field, scenario)
    return made
