"""Charts of the page whose numbers are those of its tables: policies against precisions, and profiles of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.suite import Chart
from reports.arms import Entrant, table_names
from reports.page.values import short
from reports.plots.precision import axes_of, places_of
from reports.plots.profiles import count_of, profiles_of


def heat(rows: pd.DataFrame, field: Sequence[Entrant], suite: str, chart: Chart) -> list[dict[str, Any]]:
    """Return the panels of a chart of kind "precision" at the longest videos, one for each table of the report; none
    where no arm packs.

    Parameters
    ----------
    rows
        Numbers of the comparison (`Comparison.rows`): the page shows the same ones here as in its tables.
    """
    part = rows[(rows["suite"] == suite) & (rows["scenario"] == chart.scenario) & (rows["metric"] == chart.metric)]
    part = part[(part["horizon_latent_frames"] == part["horizon_latent_frames"].max()) & (part["count"] > 0)]
    panels = []
    for table in table_names(field):
        numbers = {row.arm: row for row in part[part["table"] == table].itertuples()}
        there = places_of([entrant for entrant in field if table in entrant.tables and entrant.label in numbers])
        policies, precisions = axes_of(there.values())
        cells = [
            {
                "arm": label, "name": f"{policy}, {precision}", "row": policy, "column": precision, "x": [precision],
                "y": [short(numbers[label].mean, 4)], "lo": [short(numbers[label].low, 4)],
                "hi": [short(numbers[label].high, 4)], "n": [int(numbers[label].count)],
            }
            for label, (policy, precision) in there.items()
        ]  # fmt: skip
        if cells:
            count = count_of([part[(part["table"] == table) & part["arm"].isin(list(there))]])
            panels.append({"title": table, "n": count, "rows": policies, "columns": precisions, "arms": cells})
    return panels


def profile(rows: pd.DataFrame, field: Sequence[Entrant], suite: str, chart: Chart) -> list[dict[str, Any]]:
    """Return the panels of a chart of kind "profile" at the longest videos, one for each table of the report.

    Parameters
    ----------
    rows
        Numbers of the comparison (`Comparison.rows`).
    """
    found = profiles_of(rows[rows["suite"] == suite], field, chart)
    return [
        {"title": table, "n": count_of([*arms.values()]), "arms": [_line(label, mine) for label, mine in arms.items()]}
        for table, arms in found.items()
    ]


def _line(label: str, mine: pd.DataFrame) -> dict[str, Any]:
    ends = {
        key: [short(each, 4) for each in mine[name]] for key, name in (("y", "mean"), ("lo", "low"), ("hi", "high"))
    }
    counts = [int(each) for each in mine["count"]]
    return {"arm": label, "name": label, "x": [short(each) for each in mine["at"]], **ends, "n": counts}
