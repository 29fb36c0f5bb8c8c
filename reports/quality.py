"""The tables of a report about quality: every arm at the lengths of its videos, with intervals, counts and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.campaign.campaign import PUBLISHED
from reports.arms import Entrant, table_names
from reports.columns import COLUMNS, FILMED, FILMED_SWITCHES, HEADLINE, PRICES, SIX, SWITCHES, VBENCH, Columns
from reports.notes import cached, notes, with_budget
from reports.sheet import Sheet, column, number
from reports.statistics.comparison import Comparison

Lengths = Mapping[str, Sequence[int]]
"""Latent frames of the videos of each scenario, the longest first."""


def sheets(found: Comparison, field: Sequence[Entrant], lengths: Lengths) -> list[Sheet]:
    """Return the main tables: one for each table of arms and each length of videos."""
    shown = (*_there(COLUMNS, found.rows), *(_there(FILMED, found.rows) if filmed(found.rows) else ()))
    made: list[Sheet] = []
    named = [table for table in table_names(field) if table in set(found.rows["table"])]
    for table in with_budget(named, field) if shown else ():
        # Milliseconds of two machines must not stand in one column.
        one_cohort = len({cohort for entrant in field for cohort in entrant.by_cohort}) <= 1
        for title, columns in _by_length(table, shown, found.rows, lengths):
            part, arms = _within(found.rows, field, table)
            sheet = Sheet(title, [])
            sheet.add("strategy", [arm.label for arm in arms])
            sheet.add("cache (kB)", [cached(arm, table) for arm in arms])
            if one_cohort:
                sheet.add("chunk (ms)", [f"{_only(arm, 'chunk_ms'):.0f}" for arm in arms])
            _fill(sheet, part, arms, columns)
            sheet.notes += notes(table, field)
            made.append(sheet)
    return made


def vbench_sheets(found: Comparison, field: Sequence[Entrant], lengths: Lengths) -> list[Sheet]:
    """Return the scores and dimensions of VBench-Long, as published; nothing for a campaign without any."""
    part, arms = _within(found.rows, field, PUBLISHED)
    made = []
    for title, columns in _by_length("VBench-Long", _there(VBENCH, part), part, lengths):
        sheet = Sheet(title, [])
        sheet.add("strategy", [arm.label for arm in arms])
        _fill(sheet, part, arms, columns)
        made.append(sheet)
    return made


def switch_sheets(found: Comparison, field: Sequence[Entrant], samples: pd.DataFrame, lengths: Lengths) -> list[Sheet]:
    """Return what becomes of prompt switches, as published; nothing for a campaign without any."""
    part, arms = _within(found.rows, field, PUBLISHED)
    films = _there(FILMED_SWITCHES, part)
    shown, more = _there(SWITCHES, part) or films, _there(PRICES, part)
    made = []
    for title, columns in _by_length("prompt switches", shown, part, lengths):
        switches = Sheet(title, [])
        switches.add("strategy", [arm.label for arm in arms])
        if not films:
            # How fast a switch is followed is read off with a probe, frame by frame.
            switches.add("median response", [_median_response(samples, arm) for arm in arms])
        _fill(switches, part, arms, columns)
        # An arm that ends before any switch has nothing to show.
        numbers = range(len(switches.heads) - len(columns), len(switches.heads))
        switches.rows = [row for row in switches.rows if any(row[place] != "n/a" for place in numbers)]
        made.append(switches)
    if not made:
        return []
    named = {row[0] for switches in made for row in switches.rows}
    arms = [arm for arm in arms if arm.label in named]
    price = Sheet("what a switch costs", [])
    price.add("strategy", [arm.label for arm in arms])
    if len({cohort for arm in arms for cohort in arm.by_cohort}) <= 1:
        price.add("ms", [f"{_only(arm, 'switch_ms'):.1f}" for arm in arms])
    price.add("latent frames replayed", [f"{arm.switch_frames:.0f}" for arm in arms])
    for _, columns in _by_length("", more, part, {name: each[:1] for name, each in lengths.items()}):
        _fill(price, part, arms, columns)
    return [*made, price]


def differences(found: Comparison) -> list[str]:
    """Return what the headline score says in words, one line an arm and table."""
    scenario, metric = HEADLINE
    rows = found.rows
    part = rows[(rows["scenario"] == scenario) & (rows["metric"] == metric) & rows["difference"].notna()]
    part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
    lines = []
    for row in part.itertuples():
        verdict = ("better" if row.difference > 0 else "worse") if row.real else "not told apart"
        lines.append(
            f"{row.table}: {row.arm} {row.difference:+.2f} [{row.difference_low:+.2f}, {row.difference_high:+.2f}] "
            f"against {row.baseline} after {row.horizon_seconds:g} s, n={row.count}, p={row.p_adjusted:.2g}: {verdict}"
        )
    return lines


def filmed(rows: pd.DataFrame) -> bool:
    """Return whether a campaign has films."""
    there = set(rows["metric"])
    return bool({"psnr", "guard"} & there) and "identity" not in there


def shown_columns(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return scenario and metric of all columns of quality that the tables show."""
    every = (*COLUMNS, *(FILMED if filmed(rows) else ()), *SWITCHES, *FILMED_SWITCHES, *VBENCH, *PRICES)
    return list(dict.fromkeys(each[:2] for each in _there(every, rows)))


def _there(columns: Columns, rows: pd.DataFrame) -> Columns:
    there = set(zip(rows["scenario"], rows["metric"], strict=True))
    return tuple(each for each in columns if each[:2] in there)


def _within(rows: pd.DataFrame, field: Sequence[Entrant], table: str) -> tuple[pd.DataFrame, list[Entrant]]:
    part = rows[rows["table"] == table]
    there = set(part["arm"])
    return part, [arm for arm in field if arm.label in there]


def _by_length(
    title: str, columns: Columns, rows: pd.DataFrame, lengths: Lengths
) -> list[tuple[str, list[tuple[str, str, str, int]]]]:
    """The tables that columns need: the longest videos of every scenario, then those of shorter videos, by length."""
    rate = dict(zip(rows["horizon_latent_frames"], rows["horizon_seconds"], strict=True))
    first, rest = [], dict[int, list[tuple[str, str, str, int]]]()
    for scenario, metric, head in columns:
        there = set(rows.loc[(rows["scenario"] == scenario) & (rows["metric"] == metric), "horizon_latent_frames"])
        long = [frames for frames in lengths.get(scenario, ()) if frames in there] or [max(there)]
        first.append((scenario, metric, head, long[0]))
        for frames in long[1:]:
            rest.setdefault(frames, []).append((scenario, metric, head, frames))
    if not first:
        return []
    if not rest:
        return [(title, first)]
    longest = sorted({frames for *_, frames in first}, reverse=True)
    name = " and ".join(f"{rate[frames]:g} s" for frames in longest)
    return [
        (f"{title}, {name}", first),
        *((f"{title}, {rate[frames]:g} s", rest[frames]) for frames in sorted(rest, reverse=True)),
    ]


def _fill(
    sheet: Sheet, part: pd.DataFrame, arms: Sequence[Entrant], columns: Sequence[tuple[str, str, str, int]]
) -> None:
    labels = [arm.label for arm in arms]
    for scenario, metric, head, frames in columns:
        mine = part[
            (part["scenario"] == scenario) & (part["metric"] == metric) & (part["horizon_latent_frames"] == frames)
        ]
        cells, count = column(mine, labels, number(0 if set(mine["unit"]) == {"s"} else 2))
        sheet.add(head, cells, count)


def _only(arm: Entrant, name: str) -> float:
    """What the cells of an arm took, where all ran on one cohort."""
    return next((getattr(timing, name) for timing in arm.by_cohort.values()), np.nan)


def _median_response(samples: pd.DataFrame, arm: Entrant) -> str:
    """Median of the latent frames until a switch was followed; those never followed count as longer than any."""
    mine = samples[
        (samples["scenario"] == SIX) & (samples["strategy"] == arm.strategy) & (samples["knobs"] == arm.knobs)
    ]
    keys = ["seed", "at_frame"]
    frames = mine[mine["metric"] == "response"].set_index(keys)["value"]
    followed = mine[mine["metric"] == "responded"].set_index(keys)["value"]
    frames = frames.where(followed > 0, np.inf)[followed.notna()]
    if frames.empty:
        return "n/a"
    middle = frames.median()
    if not np.isfinite(middle):
        return "never"
    return f"{middle:g} frame{'' if middle == 1 else 's'}"
