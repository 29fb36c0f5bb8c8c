"""The cost tables of a report: rates, latencies and bytes with their intervals, one table a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from reports.arms import Entrant
from reports.sheets.columns import Placed, Shown, scores_in
from reports.sheets.sheet import Key, Sheet, Spell, column, number
from reports.statistics.comparison import Comparison


def cost_sheets(found: Comparison, field: Sequence[Entrant], cohorts: Mapping[str, str], shown: Shown) -> list[Sheet]:
    """Return the tables of the cost suites that were measured, one for each cohort.

    Parameters
    ----------
    cohorts
        Descriptions of the cohorts, by short name.
    """
    rows = found.rows[found.rows["suite"].isin(shown.costs)]
    names = list(dict.fromkeys(rows["cohort"]))
    parts = {cohort: rows[rows["cohort"] == cohort] for cohort in names}
    there = {cohort: replace(shown, there=scores_in(mine)) for cohort, mine in parts.items()}
    made = []
    for block in shown.blocks(cost=True):
        for cohort, mine in parts.items():
            measured = there[cohort]
            columns = [placed for placed in block.columns if measured.has(placed)]
            if columns:
                on = f", on {cohorts.get(cohort) or cohort or 'a machine that its folder does not name'}"
                sheet = Sheet(block.title + on * (len(names) > 1), [])
                _fill(sheet, mine, field, columns)
                made.append(sheet)
    return [*made, *_quality_timings(field, cohorts)]


def _fill(sheet: Sheet, rows: pd.DataFrame, field: Sequence[Entrant], columns: Sequence[Placed]) -> None:
    arms = [entrant.label for entrant in field if entrant.label in set(rows["arm"])]
    sheet.add("strategy", arms)
    for placed in columns:
        part = placed.of(rows)
        longest = part["horizon_latent_frames"].max()
        # An arm stands in several tables with the same numbers, and is compared in the first one.
        part = part[part["horizon_latent_frames"] == longest].drop_duplicates("arm")
        unit = set(part["unit"])
        small = bool((part["mean"] < 1000).all())
        spell = _bytes if any(each.startswith("B") for each in unit) else number(1 if small else 0)
        cells, count = column(part, arms, spell, placed.column.absent)
        cohort = next(iter(part["cohort"]), "")
        key = Key(placed.suite, placed.column.scenario, placed.column.score, longest, cohort) if len(part) else None
        sheet.add(placed.column.heading, cells, count, placed.column.on_terminal, key)


def _quality_timings(field: Sequence[Entrant], cohorts: Mapping[str, str]) -> list[Sheet]:
    """Return the timings from quality cells, one table for each of several cohorts; other tables omit these columns."""
    names = list(dict.fromkeys(cohort for entrant in field for cohort in entrant.by_cohort))
    made = []
    for cohort in names if len(names) > 1 else ():
        arms = [entrant for entrant in field if cohort in entrant.by_cohort]
        timings = [entrant.by_cohort[cohort] for entrant in arms]
        sheet = Sheet(f"timings of quality cells, on {cohorts.get(cohort) or cohort or 'a machine without a name'}", [])
        sheet.add("strategy", [entrant.label for entrant in arms])
        sheet.add("chunk (ms)", [f"{timing.chunk_ms:.0f}" for timing in timings])
        if any(np.isfinite(timing.switch_ms) for timing in timings):
            sheet.add("a switch (ms)", [f"{timing.switch_ms:.1f}" for timing in timings])
        made.append(sheet)
    return made


def speeds(rows: pd.DataFrame, cohort: str | None = None) -> dict[str, float]:
    """Return pixel frames a second of the DiT by arm, on one cohort where there are several; empty where they were not
    measured."""
    part = rows[(rows["suite"] == "fps") & (rows["metric"] == "dit_fps")]
    if cohort is not None:
        part = part[part["cohort"] == cohort]
    part = part.drop_duplicates("arm").dropna(subset="mean")
    return dict(zip(part["arm"], part["mean"], strict=True))


def in_bytes(value: float, low: float = np.nan, high: float = np.nan, more: int = 0) -> str:
    """Return bytes in a suitable unit, with both ends of their interval where these differ in print."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            said = [f"{each / size:.{2 + more}f}" for each in (value, low, high)]
            return (
                f"{said[0]} {unit}"
                if not low < high or said[1] == said[2]
                else f"{said[0]} [{said[1]}, {said[2]}] {unit}"
            )
    return f"{round(value)} B"


_bytes: Spell = in_bytes
