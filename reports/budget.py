"""What a report says of the table at equal bytes: its budget, who is off it, and who is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.campaign.campaign import EQUAL
from harness.memory.budget import readable
from reports.tables import Entrant

OFF = "†"
"""Marks cached bytes that are more than 5 % off the budget."""


def with_budget(tables: Iterable[str], field: Sequence[Entrant]) -> list[str]:
    """The tables once each; that of the equal budget also where every arm that was asked for it is left out."""
    return list(dict.fromkeys([*tables, *(EQUAL for runner in field if runner.budget_bytes is not None)]))


def cached(runner: Entrant, table: str) -> str:
    """Cached kB of an arm, marked where they are off the budget of the table."""
    off = table == EQUAL and runner.budget_note is not None
    return f"{runner.cache_bytes / 1000:.0f}{f' {OFF}' if off else ''}"


def notes(table: str, field: Sequence[Entrant]) -> list[str]:
    """The lines under a table: its budget, arms that are off it and arms that are not there, with their reasons."""
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
