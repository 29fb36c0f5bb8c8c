"""The tables of a report as text: numbers with both ends of their interval, how many rollouts they are of, marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics.comparison import marked

MORE = 3
"""Digits that a column gets beyond its usual ones where a mark asks for them."""
Spell = Callable[[float, float, float, int], str]
"""A mean with both ends of its interval (NaN where it has none), and extra digits, as text."""


@dataclass
class Sheet:
    """One table of a report: a heading, its columns, a row an arm.

    counts: how many rollouts the numbers of a column are of ("n=32"), empty for a column of other things; none at all
    in a table that has no such columns. notes: what a reader must know of it. aside: the places of columns that are not
    shown on a terminal.
    """

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aside: set[int] = field(default_factory=set)

    def add(self, head: str, cells: Sequence[str], count: str = "", on_terminal: bool = True) -> None:
        """Add a column, one cell a row. on_terminal: False for one that is in the pages only."""
        if not on_terminal:
            self.aside.add(len(self.heads))
        if not self.rows:
            self.rows = [[] for _ in cells]
        for row, cell in zip(self.rows, cells, strict=True):
            row.append(cell)
        self.heads.append(head)
        self.counts.append(count)

    @property
    def titles(self) -> list[str]:
        """The headings with their counts."""
        return [f"{head}, {count}" if count else head for head, count in zip(self.heads, self._counts(), strict=True)]

    def _counts(self) -> list[str]:
        return self.counts or [""] * len(self.heads)


def number(digits: int = 2) -> Spell:
    """Return the spelling of plain numbers with so many digits behind the point."""

    def spell(mean: float, low: float, high: float, more: int) -> str:
        said = [f"{value + 0.0:,.{digits + more}f}" for value in (mean, low, high)]
        said = [text.removeprefix("-") if not text.strip("-0.,") else text for text in said]
        return said[0] if not low < high else f"{said[0]} [{said[1]}, {said[2]}]"

    return spell


def column(part: pd.DataFrame, arms: Sequence[str], spell: Spell, absent: str = "n/a") -> tuple[list[str], str]:
    """Return the cells of a column, and how many rollouts its numbers are of.

    Parameters
    ----------
    part
        Rows of `Comparison.rows` of one table and column.
    arms
        Labels of the table's rows, in their order.
    spell
        How a number is written.
    absent
        What stands for an arm that has no number.
    """
    rows = {row.arm: row for row in part.itertuples()}
    clear = [digits for digits in range(MORE + 1) if not _hidden(rows.values(), spell, digits)] or [1]
    # One digit more where an interval would seem to have no width.
    more = next((digits for digits in clear if digits < 2 and not _flat(rows.values(), spell, digits)), clear[0])
    hidden = _hidden(rows.values(), spell, more)
    counts = {row.count for row in rows.values() if row.count}
    cells = []
    for arm in arms:
        row = rows.get(arm)
        if row is None:
            cells.append(absent)
            continue
        text = "n/a" if not row.count else spell(row.mean, row.low, row.high, more)
        if row.yardstick:
            text += " (itself)"
        if len(counts) > 1 and row.count:
            text += f" of {row.count}"
        elif row.own < row.of:
            text += f" ({row.own} of {row.of})"
        if row.count:
            text += marked(row) + (f" {row.difference:+.2g}" if arm in hidden else "")
        cells.append(text)
    if len(counts) != 1:
        return cells, ""
    (count,) = counts
    whole = max(row.of for row in rows.values())
    return cells, f"n={count}" if count == whole else f"n={count} of {whole}"


def _flat(rows: Any, spell: Spell, more: int) -> bool:
    """Whether an interval has ends that are printed alike."""
    ends = [
        (spell(row.low, np.nan, np.nan, more), spell(row.high, np.nan, np.nan, more))
        for row in rows
        if row.low < row.high
    ]
    return any(low == high for low, high in ends)


def _hidden(rows: Any, spell: Spell, more: int) -> set[str]:
    """The marked arms whose printed number is that of an arm with another mark, the baseline's among them."""
    marks: dict[str, set[str]] = {}
    shown = {}
    for row in rows:
        if row.count and not row.yardstick:
            shown[row.arm] = spell(row.mean, np.nan, np.nan, more)
            marks.setdefault(shown[row.arm], set()).add(marked(row))
    found = {row.arm: marked(row) for row in rows}
    return {arm for arm, text in shown.items() if len(marks[text]) > 1 and found[arm]}
