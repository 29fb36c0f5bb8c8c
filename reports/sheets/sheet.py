"""Tables of a report as text: numbers with both ends of their interval, counts of rollouts, and marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reports.statistics.comparison import marked

MORE = 3
"""Most digits that a column gets beyond its usual ones, to make a mark's difference visible."""
Spell = Callable[[float, float, float, int], str]
"""Function that writes a mean with both ends of its interval (NaN where it has none), and extra digits, as text."""


class Key(NamedTuple):
    """The numbers behind a column: one score of one scenario at one length of videos, on one cohort."""

    suite: str
    scenario: str
    metric: str
    frames: int
    cohort: str = ""

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `Comparison.rows` or `Comparison.pairs` that belong to this column, of all tables."""
        names = ("suite", "scenario", "metric", "horizon_latent_frames", "cohort")
        chosen = np.ones(len(rows), bool)
        for name, value in zip(names, self, strict=True):
            chosen &= (rows[name] == value).to_numpy()
        return rows[chosen]


@dataclass
class Sheet:
    """One table of a report: a heading, its columns, and one row an arm.

    counts: number of rollouts behind each column ("n=32"), empty for columns that are not over rollouts; the list is
    empty in a table without counts. notes: remarks for the reader. aside: indices of columns that a terminal does not
    show. table: the arms' table, where all rows are of one. keys: what is behind each column; None for a column without
    intervals.
    """

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aside: set[int] = field(default_factory=set)
    table: str = ""
    keys: list[Key | None] = field(default_factory=list)

    def add(
        self, head: str, cells: Sequence[str], count: str = "", on_terminal: bool = True, key: Key | None = None
    ) -> None:
        """Add a column, one cell a row. on_terminal: False for a column that only the pages show."""
        if not on_terminal:
            self.aside.add(len(self.heads))
        if not self.rows:
            self.rows = [[] for _ in cells]
        for row, cell in zip(self.rows, cells, strict=True):
            row.append(cell)
        self.heads.append(head)
        self.counts.append(count)
        self.keys.append(key)

    @property
    def titles(self) -> list[str]:
        """Headings with their counts."""
        return [f"{head}, {count}" if count else head for head, count in zip(self.heads, self._counts(), strict=True)]

    def _counts(self) -> list[str]:
        return self.counts or [""] * len(self.heads)


def number(digits: int = 2) -> Spell:
    """Return a function that writes plain numbers with this many digits behind the point."""

    def spell(mean: float, low: float, high: float, more: int) -> str:
        said = [f"{value + 0.0:,.{digits + more}f}" for value in (mean, low, high)]
        said = [text.removeprefix("-") if not text.strip("-0.,") else text for text in said]
        return said[0] if not low < high else f"{said[0]} [{said[1]}, {said[2]}]"

    return spell


def column(part: pd.DataFrame, arms: Sequence[str], spell: Spell, absent: str = "n/a") -> tuple[list[str], str]:
    """Return the cells of a column, and the count of rollouts behind its numbers.

    Parameters
    ----------
    part
        Rows of `Comparison.rows` of one table and column.
    arms
        Labels of the table's rows, in their order.
    spell
        Function that writes a number.
    absent
        Text for an arm without a number.
    """
    rows = {row.arm: row for row in part.itertuples()}
    clear = [digits for digits in range(MORE + 1) if not _hidden(rows.values(), spell, digits)] or [1]
    # Use one digit more where the ends of an interval would be printed alike.
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
    """Return whether the two ends of any interval are printed alike."""
    ends = [
        (spell(row.low, np.nan, np.nan, more), spell(row.high, np.nan, np.nan, more))
        for row in rows
        if row.low < row.high
    ]
    return any(low == high for low, high in ends)


def _hidden(rows: Any, spell: Spell, more: int) -> set[str]:
    """Return the marked arms that print the same number as an arm with another mark, for instance the baseline."""
    marks: dict[str, set[str]] = {}
    shown = {}
    for row in rows:
        if row.count and not row.yardstick:
            shown[row.arm] = spell(row.mean, np.nan, np.nan, more)
            marks.setdefault(shown[row.arm], set()).add(marked(row))
    found = {row.arm: marked(row) for row in rows}
    return {arm for arm, text in shown.items() if len(marks[text]) > 1 and found[arm]}
