"""The command that makes reports: `horizon compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console.report_table import on_terminal, print_sheet
from harness.cli.console.terminal import Json, app, console, print_json

OUT = Path("runs/compare")
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
        print_sheet(sheet)
    console.print(legend.short, style="dim")
    console.print(f"{written[0]}")
