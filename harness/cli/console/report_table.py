"""A report's tables on a terminal."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from harness.cli.console.sheet import BOUNDLESS
from harness.cli.console.terminal import console, line, lines, table
from harness.escaping import terminal

if TYPE_CHECKING:
    from harness.cli.console.sheet import Sheet as Shown
    from reports.sheets.sheet import Sheet

WIDE = 28
"""Most characters of an arm's name in one line of a table."""
BETWEEN = 2
"""Spaces between columns."""


def print_sheet(sheet: Sheet) -> None:
    """Print a table of a report, with its title and notes."""
    # Printed apart, since the title of a table would be wrapped to the table's width.
    console.print(sheet.title, style="bold")
    for shown in fitted(sheet, console.width):
        console.print(shown)
        console.print()
    for note in sheet.notes:
        console.print(note, style="dim")
        console.print()


def on_terminal(sheet: Sheet) -> bool:
    """Return whether a table has columns for a terminal besides the names of the arms."""
    return not sheet.aside or len(sheet.heads) > 1 + len(sheet.aside)


def fitted(sheet: Sheet, width: int) -> list[Shown]:
    """Return a report's table as one or several tables that fit a terminal, each with the arms' names.

    An interval is printed below its mean, and a count below its heading; where nothing limits the width, beside it.
    Columns in `aside` are on the page only.

    Parameters
    ----------
    sheet
        The report's table.
    width
        Characters of a line.
    """
    if width >= BOUNDLESS:
        return [_whole(sheet)]
    counts = sheet.counts or [""] * len(sheet.heads)
    columns = []
    for place, head in enumerate(sheet.heads):
        # In the columns of numbers, a bracket begins an interval; in the first column it belongs to a name.
        cells = [terminal(row[place]) for row in sheet.rows]
        cells = [cell.replace(" [", "\n[") for cell in cells] if place else cells
        words = [*terminal(head).split(), counts[place], *(part for cell in cells for part in cell.splitlines())]
        widest = max(map(len, words), default=0)
        if place not in sheet.aside:
            # Wrapped here at words: otherwise a heading wider than its column would be broken within words.
            titles = [*wrap(terminal(head), max(widest, 1)), *([counts[place]] if counts[place] else [])]
            columns.append(("\n".join(titles), cells, widest))
    first, *rest = columns
    room = width - sum(column[2] + BETWEEN for column in rest)
    name = min(first[2], max(WIDE, room))
    blocks: list[list[tuple[str, list[str], int]]] = [[]]
    left = width - name
    for column in rest:
        if blocks[-1] and left < column[2] + BETWEEN:
            blocks.append([])
            left = width - name
        blocks[-1].append(column)
        left -= column[2] + BETWEEN
    made = []
    for block in blocks:
        shown = table(lines(first[0]), *(lines(head) for head, *_ in block))
        shown.columns[0].max_width = name
        for place, label in enumerate(first[1]):
            shown.add_row(line(label, "bold"), *(lines(cells[place]) for _, cells, _ in block))
        made.append(shown)
    return made


def _whole(sheet: Sheet) -> Shown:
    """Return a report's table with every cell on one line."""
    places = [place for place in range(len(sheet.heads)) if place not in sheet.aside]
    shown = table(*(line(sheet.titles[place]) for place in places))
    for row in sheet.rows:
        shown.add_row(*(line(row[place]) for place in places))
    return shown
