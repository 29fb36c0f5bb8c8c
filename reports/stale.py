"""Arms whose numbers other code made than today's: named in every table, with what changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.provenance.staleness import Today, summary
from harness.store.store import Store
from reports.sheet import Sheet
from reports.tables import Entrant, cells_of, knobs_text

STALE = " (stale)"
"""Stands behind the name of an arm."""


def stale_arms(stores: Sequence[Store], field: Sequence[Entrant]) -> dict[str, str]:
    """Return why cells of an arm are not of today's code, by the label of the arm; arms without such cells are left
    out."""
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


def mark(sheets: Sequence[Sheet], stale: Mapping[str, str]) -> None:
    """Name the stale arms of tables, whose first column holds labels, or numbers and labels in a matrix."""
    for sheet in sheets:
        for row in sheet.rows:
            number, _, label = row[0].partition(" ")
            if row[0] in stale or (number.isdigit() and label in stale):
                row[0] += STALE
