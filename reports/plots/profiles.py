"""Profiles: several scores of an arm over a number that is known of each, such as cosines over lags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.suite import Chart
from reports.arms import Entrant, table_names
from reports.plots.panels import Cast, dress, keep, legend, logarithmic, panels_of


def profiles_of(rows: pd.DataFrame, field: Sequence[Entrant], chart: Chart) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the points of each arm at the longest videos, by table of the report and by label.

    Parameters
    ----------
    rows
        Numbers of the comparison (`Comparison.rows`) in the chart's suite.

    Returns
    -------
    profiles
        Rows with a column `at`, the chart's number, in rising order; tables and arms without any are left out.
    """
    at = {metric: number for number, metric in chart.points}
    part = rows[(rows["scenario"] == chart.scenario) & rows["metric"].isin(list(at)) & (rows["count"] > 0)]
    part = part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]
    part = part.assign(at=part["metric"].map(at).astype(float)).sort_values("at", kind="stable")
    by = dict(list(part.groupby(["table", "arm"], sort=False)))
    found = {
        table: {entrant.label: by[table, entrant.label] for entrant in field if (table, entrant.label) in by}
        for table in table_names(field)
    }
    return {table: arms for table, arms in found.items() if arms}


def count_of(arms: Sequence[pd.DataFrame]) -> str:
    """Return the number of rollouts behind the points of some arms, in words."""
    counts = pd.concat(arms)["count"]
    low, high = int(counts.min()), int(counts.max())
    return f"n={low}" if low == high else f"n={low} to {high}"


def draw(rows: pd.DataFrame, cast: Cast, chart: Chart, path: Path) -> None:
    """Draw a chart of kind "profile" with 95 % intervals, a panel for each table of the report; nothing without points.

    Parameters
    ----------
    rows
        Numbers of the comparison in the chart's suite.
    """
    found = profiles_of(rows, cast.field, chart)
    if not found:
        return
    figure, axes = panels_of(len(found))
    for axis, (table, arms) in zip(axes, found.items(), strict=True):
        for label, mine in arms.items():
            times, means, lows, highs = mine[["at", "mean", "low", "high"]].to_numpy(float).T
            style = cast.looks[label]
            axis.plot(times, means, label=label, marker="o", markersize=3, linewidth=1.8, **style)
            there = np.isfinite(lows) & np.isfinite(highs)
            axis.fill_between(times[there], lows[there], highs[there], color=style["color"], alpha=0.12, linewidth=0)
        dress(axis, f"{table}, {count_of([*arms.values()])}", chart.across, chart.up)
        axis.set_xscale("log")
        logarithmic(axis.xaxis)
    legend(figure, axes)
    keep(figure, path)
