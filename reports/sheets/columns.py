"""Selection of the numbers that a report shows, from the declarations of the suites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from harness.suite import Column, CostSuite, Display, Table
from reports.tables import suite_named


class Placed(NamedTuple):
    """A column of a suite; the suite is part of it, since two suites may have scenarios of one name."""

    suite: str
    column: Column

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of its score, for all lengths of videos."""
        suite, column = self
        return rows[(rows["suite"] == suite) & (rows["scenario"] == column.scenario) & (rows["metric"] == column.score)]


class Block(NamedTuple):
    """A table of one suite, or tables of several suites that share a title. tables: each with its suite."""

    title: str
    columns: list[Placed]
    tables: list[tuple[str, Table]]


@dataclass(frozen=True)
class Shown:
    """Columns, tables and charts that the suites of a report show.

    Parameters
    ----------
    displays
        Display of each suite by name, in the order of the suites.
    costs
        Names of the cost suites among them.
    there
        (suite, scenario, score) of all numbers.
    """

    displays: Mapping[str, Display]
    costs: frozenset[str]
    there: frozenset[tuple[str, str, str]]

    def main(self) -> list[Placed]:
        """Return the columns of the main tables that have numbers."""
        every = [Placed(name, column) for name, display in self.displays.items() for column in display.columns]
        return [each for each in every if self.has(each)]

    def blocks(self, cost: bool) -> list[Block]:
        """Return the further tables, of cost suites or of the others, with the columns that have numbers."""
        made: dict[str, Block] = {}
        for name, display in self.displays.items():
            for table in display.tables if (name in self.costs) == cost else ():
                block = made.setdefault(table.title, Block(table.title, [], []))
                block.columns.extend(each for column in table.columns if self.has(each := Placed(name, column)))
                block.tables.append((name, table))
        return [block for block in made.values() if block.columns or any(table.switches for _, table in block.tables)]

    def has(self, placed: Placed) -> bool:
        """Return whether a column is shown: it has a number, or a column beside it has one."""
        suite, column = placed
        return bool(self.there & {(suite, column.scenario, score) for score in (column.score, column.beside)})

    def every(self) -> list[Placed]:
        """Return all columns of quality."""
        return [*self.main(), *(each for block in self.blocks(cost=False) for each in block.columns)]

    @property
    def headline(self) -> Placed | None:
        """Return the first headline of a suite that has numbers."""
        found = [Placed(name, each.headline) for name, each in self.displays.items() if each.headline is not None]
        return next((each for each in found if self.has(each)), None)

    @property
    def notes(self) -> list[str]:
        """Return the notes below the main tables."""
        return [note for display in self.displays.values() for note in display.notes]


def scores_in(rows: pd.DataFrame) -> frozenset[tuple[str, str, str]]:
    """Return (suite, scenario, score) of all numbers in some rows."""
    return frozenset(map(tuple, rows[["suite", "scenario", "metric"]].drop_duplicates().astype(str).to_numpy()))


def shown_of(rows: pd.DataFrame) -> Shown:
    """Return what is shown of some rows, from the declarations of their suites.

    Parameters
    ----------
    rows
        Rows with the columns suite, scenario and metric.
    """
    there = scores_in(rows)
    suites = {name: suite_named(name) for name in sorted({suite for suite, *_ in there})}
    displays = {
        name: suite.display({(scenario, score) for of, scenario, score in there if of == name})
        for name, suite in suites.items()
    }
    order: list[str] = sorted(displays, key=lambda name: (displays[name].order, name))
    costs = frozenset(name for name, suite in suites.items() if isinstance(suite, CostSuite))
    return Shown({name: displays[name] for name in order}, costs, there)
