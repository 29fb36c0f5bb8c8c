"""Notes under the tables of a report: arms with stale cells, and the budget of the equal-bytes table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from harness.campaign.campaign import EQUAL
from harness.memory.budget import readable
from harness.provenance.staleness import Today, summary
from harness.store.manifest import IMPORTED
from harness.store.store import Store
from reports.arms import Entrant, cells_of, knobs_text
from reports.sheets.sheet import Sheet
from reports.statistics.comparison import Comparison
from reports.tables import suite_named

STALE, HANDICAPPED = " (stale)", " (handicapped)"
"""Suffixes of arms' names."""


def stale_arms(stores: Sequence[Store], field: Sequence[Entrant]) -> dict[str, str]:
    """Return the reasons why cells are stale, by the label of the arm; arms without stale cells are left out."""
    labels = {(entrant.strategy, entrant.knobs): entrant.label for entrant in field}
    reasons: dict[str, list[str]] = {}
    for store in stores:
        today = Today(store.codes())
        for cell in cells_of(store):
            found = today.stale(cell.about)
            if found:
                key = (cell.about["strategy"], knobs_text(cell.about["knobs"]))
                reasons.setdefault(labels.get(key, cell.about["strategy"]), []).extend(found)
    return {label: summary(found) for label, found in reasons.items()}


def handicapped_arms(found: Comparison) -> dict[str, str]:
    """Return where the model puts an arm at a disadvantage, and by how much, by the label of the arm."""
    reasons: dict[str, list[str]] = {}
    for (suite, name), rows in found.rows.groupby(["suite", "metric"], sort=False, observed=True):
        metric = suite_named(str(suite)).metric_named(str(name))
        if metric is not None and metric.handicap is not None:
            for row in rows[rows["mean"] < metric.handicap].itertuples():
                reasons.setdefault(str(row.arm), []).append(f"{row.scenario} {row.mean:.2f}")
    return {label: ", ".join(dict.fromkeys(where)) for label, where in reasons.items()}


def mark(sheets: Sequence[Sheet], labels: Collection[str], suffix: str) -> None:
    """Append a suffix to some arms of tables, whose first column holds labels, or numbers and labels in a matrix."""
    for sheet in sheets:
        for row in sheet.rows:
            number, _, label = row[0].partition(" ")
            if row[0] in labels or (number.isdigit() and label in labels):
                row[0] += suffix


OFF = "†"
"""Marks cached bytes that differ by more than 5 % from the budget."""


def with_budget(tables: Iterable[str], field: Sequence[Entrant]) -> list[str]:
    """Return the tables once each; the equal-bytes table is included even if every arm of it was left out."""
    return list(dict.fromkeys([*tables, *(EQUAL for runner in field if runner.budget_bytes is not None)]))


def cached(runner: Entrant, table: str) -> str:
    """Return the cached kB of an arm, marked where they are off the budget of the table."""
    if runner.strategy == IMPORTED:
        return "n/a"
    off = table == EQUAL and runner.budget_note is not None
    return f"{runner.cache_bytes / 1000:.0f}{f' {OFF}' if off else ''}"


def notes(table: str, field: Sequence[Entrant]) -> list[str]:
    """Return the lines under a table: its budget, arms that are off it and arms that are absent, with reasons."""
    if table != EQUAL:
        return []
    asked = [runner for runner in field if runner.budget_bytes is not None]
    told = [runner for runner in asked if runner.budget_note is not None]
    return [
        *(f"Budget: {readable(budget)} of cache." for budget in sorted({runner.budget_bytes or 0 for runner in asked})),
        *(f"{OFF} {runner.label} {runner.budget_note}." for runner in told if EQUAL in runner.tables),
        *(
            f"{runner.label} is not in this table: {runner.budget_note}."
            for runner in told
            if EQUAL not in runner.tables
        ),
    ]
