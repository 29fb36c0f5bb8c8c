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
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine and make it again when cells finish.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0: any free one.")] = 8017,
    as_json: Json = False,
) -> None:
    """Make the report of a campaign, or of several seeds of one: tables with intervals, plots and a page."""
    from reports.report import render

    if serve:
        _serve(folders or [OUT], out, baseline, port)
        return
    written, sheets, legend = render(*(folders or [OUT]), out=out, baseline=baseline)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for sheet in filter(on_terminal, sheets):
        print_sheet(sheet)
    console.print(legend.short, style="dim")
    console.print(f"{written[0]}", soft_wrap=True)


def _serve(folders: list[Path], out: Path | None, baseline: str | None, port: int) -> None:
    """Serve the page until Ctrl-C; it follows the folders."""
    from harness.errors import StoreError
    from harness.store.store import Store
    from reports.publish.serve import Server
    from reports.report import POOLED, render

    for folder in folders:
        Store(folder).manifest()
    place = out or (folders[0] if len(folders) == 1 else POOLED)
    try:
        server = Server(folders, place, lambda: render(*folders, out=out, baseline=baseline), port)
    except OSError as error:
        raise StoreError(f"cannot serve on port {port}: {error.strerror}; give --port another number") from None
    console.print(f"{server.address} follows {', '.join(map(str, folders))}; Ctrl-C stops")

    def told(made: bool) -> None:
        if made:
            console.print(f"{place / 'report.html'}: made again")
        elif server.trouble:
            console.print(server.trouble, style="dim")
            server.trouble = ""

    try:
        server.run(told)
    except KeyboardInterrupt:
        console.print("stopped; the page stays, and no longer changes")
