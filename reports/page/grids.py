"""Tables of the page: what each heading means, which arms are best, and the numbers behind every cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.suite import Metric
from reports.page.values import short
from reports.sheets.sheet import Key, Sheet
from reports.statistics.comparison import Comparison
from reports.tables import suite_named

BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": "neither direction is better"}
UNITS = {
    "share": "a share from 0 to 1",
    "1": "a plain number",
    "s": "in seconds",
    "B": "in bytes",
    "ms": "in milliseconds",
}
BEST, TIED = "best", "tied"


@dataclass
class Cell:
    """A cell of a table. value: for sorting; None where it has no number. rank: "best", "tied" or ""."""

    text: str
    value: float | None = None
    rank: str = ""

    @property
    def number(self) -> str:
        """What stands before an interval."""
        return self._parts[0]

    @property
    def interval(self) -> str:
        """Both ends in brackets; "" where there are none."""
        return self._parts[1]

    @property
    def rest(self) -> str:
        """What stands behind: a unit, a count, a difference."""
        return self._parts[2]

    @property
    def mark(self) -> str:
        """The sign of a significant difference to the baseline, or ""."""
        return self._parts[3]

    @property
    def _parts(self) -> tuple[str, str, str, str]:
        found = re.fullmatch(r"([^\[]*?)(\[[^\]]*\])?([^\[\]]*?)(?: ([▲▼])( \S+)?)?", self.text, re.DOTALL)
        if found is None or (found[2] is None and found[4] is None):
            return self.text, "", "", ""
        first, interval, rest, mark, more = (each or "" for each in found.groups())
        return first.strip(), interval, rest + more, mark


@dataclass
class Head:
    """A heading. sentence: what stands in the column. ranked: whether cells say which arms are best."""

    text: str
    count: str = ""
    sentence: str = ""
    better: str = "neither"
    ranked: bool = False


@dataclass
class Grid:
    """A table of the page.

    Parameters
    ----------
    name
        Id of its element.
    sheet
        The report's table.
    arms
        Label of each row's arm; in a matrix, also of each column but the first.
    heads, rows
        Its headings and cells.
    data
        Means, differences and lines of table.csv, for the script.
    """

    name: str
    sheet: Sheet
    arms: list[str]
    heads: list[Head]
    rows: list[list[Cell]]
    matrix: bool = False
    data: dict[str, Any] = field(default_factory=dict)


def grids(
    sheets: Sequence[Sheet], arms: Sequence[Sequence[str]], found: Comparison, lines: Sequence[str]
) -> list[Grid]:
    """Return the tables of a page.

    Parameters
    ----------
    sheets
        The report's tables.
    arms
        The labels of each table's rows, without marks.
    found
        Numbers and differences.
    lines
        table.csv, line by line: the heading, then a line a row of `found.rows`.
    """
    return [_grid(f"table-{number}", sheet, list(labels), found, lines)
            for number, (sheet, labels) in enumerate(zip(sheets, arms, strict=True))]  # fmt: skip


def _grid(name: str, sheet: Sheet, labels: list[str], found: Comparison, lines: Sequence[str]) -> Grid:
    matrix = sheet.title.startswith("pairwise wins")
    if matrix:
        labels = [label.partition(" ")[2] for label in labels]
    keys = [*sheet.keys, *[None] * (len(sheet.heads) - len(sheet.keys))]
    counts = sheet.counts or [""] * len(sheet.heads)
    heads = [Head(text, count) for text, count in zip(sheet.heads, counts, strict=True)]
    rows = [[Cell(text, _sortable(text)) for text in row] for row in sheet.rows]
    columns, taken = [], []
    for place, key in enumerate(keys):
        if key is None:
            heads[place].sentence = _plain_sentence(sheet.heads[place], matrix, labels)
            continue
        mine = key.of(found.rows)
        mine = mine[mine["table"] == sheet.table] if sheet.table else mine.drop_duplicates("arm")
        mine = mine[mine["arm"].isin(labels)]
        pairs = key.of(found.pairs)
        pairs = pairs[pairs["table"].isin(set(mine["table"]))].drop_duplicates(["arm", "other"])
        taken += list(mine.index)
        _fill(heads[place], rows, place, labels, mine, pairs, key)
        columns.append({"place": place, "better": heads[place].better, **_numbers(mine, pairs, labels)})
    csv: dict[str, list[str]] = {}
    for index in sorted(set(taken)):
        csv.setdefault(str(found.rows.at[index, "arm"]), []).append(lines[1 + index])
    data = {"arms": labels, "columns": columns, "csv": {"head": lines[0], "arms": csv}}
    return Grid(name, sheet, labels, heads, rows, matrix, data)


def _fill(
    head: Head, rows: list[list[Cell]], place: int, labels: list[str], mine: pd.DataFrame, pairs: pd.DataFrame, key: Key
) -> None:
    """Add to a column what is known of it: its sentence, the values of its cells, and which are best."""
    metric = suite_named(key.suite).metric_named(key.metric)
    head.better = str(next(iter(mine["better"]), "neither"))
    head.sentence = sentence(metric, key, next(iter(mine["horizon_seconds"]), None), head.better)
    ranks = ranked(mine, pairs)
    head.ranked = bool(ranks)
    means = dict(zip(mine["arm"], mine["mean"], strict=True))
    for label, row in zip(labels, rows, strict=True):
        row[place].value = short(means[label]) if label in means else None
        row[place].rank = ranks.get(label, "")


def sentence(metric: Metric | None, key: Key, seconds: float | None, better: str) -> str:
    """Return what a column shows, in one sentence, from the declaration of its metric."""
    about = (metric.about if metric else "") or key.metric.replace("_", " ")
    unit = UNITS.get(metric.unit, f"in {metric.unit}") if metric else ""
    length = "" if seconds is None else f", at videos of {seconds:g} s"
    told = f"{about[:1].upper()}{about[1:]}"
    facts = ", ".join(filter(None, (unit, BETTER[better])))
    return f"{told} ({facts}); suite {key.suite}, scenario {key.scenario}{length}."


def ranked(mine: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, str]:
    """Return which arms of a column are best, and which of the others do not differ significantly from the best.

    Parameters
    ----------
    mine, pairs
        Rows of `Comparison.rows` and `Comparison.pairs` of one column and table.
    """
    there = mine[(mine["count"] > 0) & ~mine["yardstick"].astype(bool)]
    better = next(iter(mine["better"]), "neither")
    if better == "neither" or len(there) < 2:
        return {}
    top = there["mean"].max() if better == "higher" else there["mean"].min()
    best = list(there.loc[there["mean"] == top, "arm"])
    found = dict.fromkeys(best, BEST)
    for row in pairs.itertuples():
        if not row.real and (row.arm == best[0] or row.other == best[0]):
            found.setdefault(str(row.other if row.arm == best[0] else row.arm), TIED)
    return found


def _numbers(mine: pd.DataFrame, pairs: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Return the differences of a column for the script: arms by their places, p after the correction."""
    places = {label: place for place, label in enumerate(labels)}
    found = [
        [places[row.arm], places[row.other], *map(short, (row.difference, row.low, row.high, row.p_adjusted)),
         int(row.real)]
        for row in pairs.itertuples()
        if row.arm in places and row.other in places
    ]  # fmt: skip
    return {"pairs": found, "counts": [int(count) for count in mine["count"]]}


def _plain_sentence(heading: str, matrix: bool, labels: Sequence[str]) -> str:
    told: Mapping[str, str] = {
        "strategy": "The arm: a strategy with its knobs. Its button opens one of its rollouts.",
        "cache (kB)": "Bytes held between chunks for one rollout, in thousands.",
        "chunk (ms)": "Milliseconds of a chunk of the whole batch in the quality cells; indicative.",
        "a switch (ms)": "Milliseconds that a prompt switch takes the memory.",
        "ms": "Milliseconds that a prompt switch takes the memory.",
        "latent frames replayed": "Latent frames that the memory sees again under the new prompt.",
    }
    if matrix and heading.isdigit():
        return f"Columns in which the arm of the row is significantly better than {labels[int(heading) - 1]}."
    return told.get(heading, f"{heading[:1].upper()}{heading[1:]}, from the samples of the arm.")


def _sortable(text: str) -> float | None:
    """Return the number with which a cell begins; infinity for what never happens."""
    if text == "never":
        return 1e300
    found = re.match(r"[-+]?[\d,]*\.?\d+", text)
    return float(found[0].replace(",", "")) if found else None
