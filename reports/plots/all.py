"""All pictures of a report; each is drawn where a campaign has data for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store.cells import Stored
from harness.store.store import Store
from reports.arms import Entrant
from reports.plots import cost as cost_plots
from reports.plots import drift as drift_plots
from reports.plots import interactive as interactive_plots
from reports.plots import precision as precision_plots
from reports.plots import profiles as profile_plots
from reports.plots.panels import Cast, cast
from reports.sheets.columns import Placed, Shown
from reports.sheets.cost import speeds
from reports.statistics.comparison import Comparison
from reports.statistics.curves import CurveSource


def draw_all(
    folder: Path,
    store: Store,
    table: pd.DataFrame,
    scored: pd.DataFrame,
    curves: CurveSource,
    found: Comparison,
    field: Sequence[Entrant],
    cohorts: Mapping[str, str],
    shown: Shown,
) -> list[Path]:
    """Draw all pictures that the data allows into a folder, and return their paths.

    Parameters
    ----------
    store
        Campaign with the cells whose pictures make the filmstrips.
    table, scored
        All samples, and the suites' scores of them.
    curves
        Curves over the videos.
    cohorts
        Descriptions of the cohorts.
    shown
        The charts and filmstrips that the suites declare.
    """
    made: list[Path] = []
    cells = list(store.cells())
    players = cast(field, found.baseline, list(cohorts) or [""])

    def keep(name: str, draw: Any, *arguments: Any) -> None:
        path = folder / f"{name}.png"
        # A picture of an earlier report does not belong to these numbers.
        path.unlink(missing_ok=True)
        draw(*arguments, path)
        if path.exists():
            made.append(path)

    for suite, each in shown.displays.items():
        samples, mine = table[table["suite"] == suite], scored[scored["suite"] == suite]
        for chart in each.charts:
            if callable(chart.kind):
                keep(chart.name, chart.kind, samples)
            elif chart.kind == "curve":
                keep(chart.name, drift_plots.curves, curves, players, suite, chart.scenario, chart.metric)
            elif chart.kind == "survival" and chart.metric in set(mine["metric"]):
                keep(chart.name, drift_plots.survival, mine, players, chart.scenario, chart.metric)
            elif chart.kind == "precision" and chart.metric in set(mine["metric"]):
                keep(chart.name, precision_plots.heat_map, mine, field, chart.scenario, chart.metric)
            elif chart.kind == "profile":
                keep(chart.name, profile_plots.draw, found.rows[found.rows["suite"] == suite], players, chart)
            elif chart.kind == "switches" and curves.has(suite, chart.scenario, "new_scene"):
                switches = _switches(cells, suite, chart.scenario)
                keep(chart.name, interactive_plots.attributes, curves, players, suite, chart.scenario, switches)
            elif chart.kind == "waits":
                keep(chart.name, cost_plots.waits, table, players)
            elif chart.kind == "cost" and chart.name not in {path.stem for path in made}:
                # Time and bytes over the video share one picture, whichever suite measured them.
                keep(chart.name, cost_plots.over_the_video, table, players)
    if shown.headline is not None:
        made += _against_cost(folder, found.rows, players, cohorts, shown.headline)
    for suite, scenario in ((suite, name) for suite, each in shown.displays.items() for name in each.filmstrips):
        its_own = [cell for cell in cells if cell.about["suite"] == suite]
        keep(f"{scenario}-filmstrips", drift_plots.strips, its_own, players.field, scenario)
    return made


def _against_cost(
    folder: Path, rows: pd.DataFrame, players: Cast, cohorts: Mapping[str, str], headline: Placed
) -> list[Path]:
    """Draw the headline score of every arm against its costs."""
    part = headline.of(rows)
    part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
    title = f"{headline.column.heading} after {part['horizon_seconds'].iloc[0]:g} s, n={part['count'].max()}"
    measured = list(dict.fromkeys(rows.loc[rows["metric"] == "dit_fps", "cohort"]))
    known = [(cohorts.get(each, each) if len(measured) > 1 else "", speeds(rows, each)) for each in measured]
    path = folder / "cost-and-quality.png"
    drift_plots.price(part, players, title, path, known, cohorts)
    return [path]


def _switches(cells: Sequence[Stored], suite: str, scenario: str) -> list[tuple[int, str]]:
    """Return the latent frames at which the prompts of a scenario switch, each with the kind of boundary."""
    return next(
        [(scene[0], kind) for scene, kind in zip(task["rows"][0]["script"], task["boundaries"], strict=True)][1:]
        for cell in cells
        if cell.about["suite"] == suite and (task := cell.about["task"])["scenario"] == scenario
    )
