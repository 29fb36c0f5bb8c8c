"""The command that makes reports: `horizon compare`."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console.terminal import Json, app, console, line, lines, print_json, table
from harness.escaping import terminal

if TYPE_CHECKING:
    from harness.cli.console.sheet import Sheet as Shown
    from reports.sheet import Sheet

OUT = Path("runs/compare")
WIDE = 28
"""Most characters of an arm's name in one line of a table."""
BETWEEN = 2
"""Spaces between columns."""
BaselineOption = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="The arm with which others are compared: NAME, a label, or NAME.KNOB=VALUE. Default: sliding_window.",
    ),
]


@app.command()
def compare(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="A campaign's folder; several folders that differ in their seed only give one table."),
    ] = None,
    baseline: BaselineOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report. Default: FOLDER; for several folders: runs/pooled."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the report of a campaign, or of several seeds of one: tables with intervals, plots and a page."""
    from reports.report import render

    written, sheets, legend = render(*(folders or [OUT]), out=out, baseline=baseline)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for sheet in filter(on_terminal, sheets):
        # Printed apart, since the title of a table would be wrapped to the table's width.
        console.print(sheet.title, style="bold")
        for shown in fitted(sheet, console.width):
            console.print(shown)
            console.print()
        for note in sheet.notes:
            console.print(note, style="dim")
            console.print()
    console.print(legend.short, style="dim")
    console.print(f"{written[0]}")


def on_terminal(sheet: Sheet) -> bool:
    """Return whether a table has columns for a terminal besides the names of the arms."""
    return not sheet.aside or len(sheet.heads) > 1 + len(sheet.aside)


def fitted(sheet: Sheet, width: int) -> list[Shown]:
    """Return a report's table as one or several tables that fit a terminal, each with the arms' names.

    An interval is printed below its mean, and a count below its heading. Columns in `aside` are on the page only.

    Parameters
    ----------
    sheet
        The report's table.
    width
        Characters of a line.
    """
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
    name = min(first[2], WIDE)
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
        shown.columns[0].max_width = WIDE
        for place, label in enumerate(first[1]):
            shown.add_row(line(label, "bold"), *(lines(cells[place]) for _, cells, _ in block))
        made.append(shown)
    return made
