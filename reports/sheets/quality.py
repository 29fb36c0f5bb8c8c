"""The quality tables of a report: every arm at the lengths of its videos, with intervals, counts and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.campaign.campaign import EQUAL, PUBLISHED
from reports.arms import Entrant, table_names
from reports.notes import cached, notes, with_budget
from reports.sheets.columns import Placed, Shown
from reports.sheets.sheet import Key, Sheet, column, number
from reports.statistics.baseline import named
from reports.statistics.comparison import Comparison

Lengths = Mapping[tuple[str, str], Sequence[int]]
"""Latent frames of the videos of each suite and scenario, the longest first."""


def sheets(found: Comparison, field: Sequence[Entrant], lengths: Lengths, shown: Shown) -> list[Sheet]:
    """Return the main tables: one for each table of arms and each length of videos."""
    columns = shown.main()
    made: list[Sheet] = []
    there = [table for table in table_names(field) if table in set(found.rows["table"])]
    for table in with_budget(there, field) if columns else ():
        # One column must not mix milliseconds of two machines.
        one_cohort = len({cohort for entrant in field for cohort in entrant.by_cohort}) <= 1
        part, arms = _within(found.rows, field, table)
        measured = [each for each in columns if len(each.of(_resized(part, arms, table)))]
        # A table whose arms are all left out keeps every column.
        asked, rows = (measured, part) if measured else (columns, found.rows)
        for title, placed in _by_length(table, asked, rows, lengths):
            sheet = Sheet(title, [], table=table)
            sheet.add("strategy", [arm.label for arm in arms])
            sheet.add("cache (kB)", [cached(arm, table) for arm in arms])
            if one_cohort:
                sheet.add("chunk (ms)", [f"{_only(arm, 'chunk_ms'):.0f}" for arm in arms], on_terminal=False)
            _fill(sheet, part, arms, placed)
            sheet.notes += notes(table, field)
            made.append(sheet)
    if made:
        made[-1].notes += shown.notes
    return made


def suite_sheets(
    found: Comparison, field: Sequence[Entrant], samples: pd.DataFrame, lengths: Lengths, shown: Shown
) -> list[Sheet]:
    """Return the additional tables that suites declare, for the table of published arms."""
    part, arms = _within(found.rows, field, PUBLISHED)
    made: list[Sheet] = []
    for block in shown.blocks(cost=False):
        columns = [each for each in block.columns if len(each.of(part))]
        longest = any(table.longest_only for _, table in block.tables)
        few = {name: each[:1] for name, each in lengths.items()} if longest else lengths
        switched = any(table.switches for _, table in block.tables)
        entered = arms
        if switched:
            entered = [arm for arm in arms if np.isfinite(arm.switch_frames)]
        if not entered:
            continue
        for title, placed in _by_length(block.title, columns, part, few) or [(block.title, [])] * switched:
            sheet = Sheet(block.title if longest else title, [], table=PUBLISHED)
            sheet.add("strategy", [arm.label for arm in entered])
            for suite, table in block.tables:
                if table.switches:
                    _add_switches(sheet, entered)
                for heading, summary in table.summaries:
                    cells = [summary(_samples_of(samples, suite, arm)) for arm in entered]
                    if any(cell != "n/a" for cell in cells):
                        sheet.add(heading, cells)
            before = len(sheet.heads)
            _fill(sheet, part, entered, placed)
            # Drop arms that have none of these numbers.
            if placed:
                sheet.rows = [row for row in sheet.rows if any(cell != "n/a" for cell in row[before:])]
            made.append(sheet)
    return made


def _add_switches(sheet: Sheet, arms: Sequence[Entrant]) -> None:
    """Add the cost of a prompt switch for the memory of each arm."""
    if len({cohort for arm in arms for cohort in arm.by_cohort}) <= 1:
        sheet.add("ms", [f"{_only(arm, 'switch_ms'):.1f}" for arm in arms])
    sheet.add("latent frames replayed", [f"{arm.switch_frames:.0f}" for arm in arms])


def _samples_of(samples: pd.DataFrame, suite: str, arm: Entrant) -> pd.DataFrame:
    return samples[
        (samples["suite"] == suite) & (samples["strategy"] == arm.strategy) & (samples["knobs"] == arm.knobs)
    ]


def differences(found: Comparison, headline: Placed | None) -> list[str]:
    """Return the differences of the headline score in words, one line an arm and table."""
    if headline is None:
        return []
    part = headline.of(found.rows)
    part = part[part["difference"].notna()]
    part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
    lines = []
    for row in part.itertuples():
        verdict = (
            ("better" if (row.difference > 0) == (row.better == "higher") else "worse")
            if row.real
            else "no significant difference"
        )
        lines.append(
            f"{row.table}: {row.arm} {row.difference:+.2f} [{row.difference_low:+.2f}, {row.difference_high:+.2f}] "
            f"against {row.baseline} after {row.horizon_seconds:g} s, n={row.count}, p={row.p_adjusted:.2g}: {verdict}"
        )
    return lines


def paper_sheets(found: Comparison, field: Sequence[Entrant], asked: Mapping[str, Any]) -> list[Sheet]:
    """Return the table of the paper that a campaign was made from; none for other campaigns.

    Ours are means with intervals in the paper's unit, at the length that the paper's row names, else at the longest;
    "n/a" where nothing was measured yet.
    """
    paper = asked.get("paper")
    if not paper:
        return []
    metrics = list(dict.fromkeys(name for row in paper["rows"] for name in row["theirs"]))
    rows = found.rows[found.rows["scenario"] == paper["scenario"]]
    seconds = dict(zip(rows["horizon_latent_frames"], rows["horizon_seconds"], strict=True))
    sheet = Sheet(f"{paper['title']}: theirs and ours", [])
    lengths = ["" if row["frames"] is None else f", {seconds.get(row['frames'], 0):g} s" for row in paper["rows"]]
    sheet.add("strategy", [f"{row['arm']}{length}" for row, length in zip(paper["rows"], lengths, strict=True)])
    for metric in metrics:
        name = metric.replace("_", " ")
        sheet.add(f"{name}, theirs", [_spelled(row["theirs"].get(metric)) for row in paper["rows"]])
        ours = [_ours(rows, field, row, metric, paper["shares_in_per_cent"]) for row in paper["rows"]]
        sheet.add(f"{name}, ours", ours)
    sheet.notes = [f"Theirs: {paper['source']}.", *([f"Prompts: {paper['prompts']}."] if paper["prompts"] else [])]
    sheet.notes += [f"What differs: {each}" for each in paper["differs"]]
    return [sheet]


def _ours(rows: pd.DataFrame, field: Sequence[Entrant], row: Mapping[str, Any], metric: str, per_cent: bool) -> str:
    labels = {entrant.label for entrant in named(field, row["arm"])}
    mine = rows[rows["arm"].isin(labels) & (rows["metric"] == metric) & rows["mean"].notna()]
    if row["frames"]:
        mine = mine[mine["horizon_latent_frames"] == row["frames"]]
    if mine.empty:
        return "n/a"
    best = mine.sort_values("horizon_latent_frames").iloc[-1]
    scale = 100 if per_cent and best["unit"] == "share" else 1
    mean, low, high = (scale * best[name] for name in ("mean", "low", "high"))
    return _spelled(mean) + (f" [{_spelled(low)}, {_spelled(high)}]" if np.isfinite([low, high]).all() else "")


def _spelled(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _within(rows: pd.DataFrame, field: Sequence[Entrant], table: str) -> tuple[pd.DataFrame, list[Entrant]]:
    part = rows[rows["table"] == table]
    there = set(part["arm"])
    return part, [arm for arm in field if arm.label in there]


def _resized(part: pd.DataFrame, arms: Sequence[Entrant], table: str) -> pd.DataFrame:
    """Return the rows that decide which columns a table has.

    In the table of the equal budget they are those of arms that were resized for it, where there are any: a suite may
    leave a scenario out at the equal budget, which arms that are in both tables have all the same.
    """
    resized = [arm.label for arm in arms if arm.resized]
    return part[part["arm"].isin(resized)] if table == EQUAL and resized else part


def _by_length(
    title: str, columns: Sequence[Placed], rows: pd.DataFrame, lengths: Lengths
) -> list[tuple[str, list[tuple[Placed, int]]]]:
    """Return the tables for columns: first the longest videos of every scenario, then shorter videos by length."""
    rate = dict(zip(rows["horizon_latent_frames"], rows["horizon_seconds"], strict=True))
    first, rest = [], dict[int, list[tuple[Placed, int]]]()
    for placed in columns:
        there = set(placed.of(rows)["horizon_latent_frames"])
        whole = lengths.get((placed.suite, placed.column.scenario), ())
        long = [frames for frames in whole if frames in there] or [max(there)]
        first.append((placed, long[0]))
        for frames in long[1:]:
            rest.setdefault(frames, []).append((placed, frames))
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


def _fill(sheet: Sheet, part: pd.DataFrame, arms: Sequence[Entrant], columns: Sequence[tuple[Placed, int]]) -> None:
    labels = [arm.label for arm in arms]
    for placed, frames in columns:
        mine = placed.of(part)
        mine = mine[mine["horizon_latent_frames"] == frames]
        spell = number(0 if set(mine["unit"]) == {"s"} else 2)
        cells, count = column(mine, labels, spell, placed.column.absent)
        key = Key(placed.suite, placed.column.scenario, placed.column.score, frames)
        sheet.add(placed.column.heading, cells, count, placed.column.on_terminal, key)


def _only(arm: Entrant, name: str) -> float:
    """Return a timing of an arm's cells, which must all have run on one cohort; NaN without cells."""
    return next((getattr(timing, name) for timing in arm.by_cohort.values()), np.nan)
