"""The commands that show reports to others: `horizon board | share`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console.terminal import Json, app, console, print_json


@app.command()
def board(
    folders: Annotated[list[Path], typer.Argument(help="Folders of campaigns, of any backbones, suites and tiers.")],
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("runs/board"),
    title: Annotated[str, typer.Option(help="Title of the index.")] = "Which memory keeps a video itself?",
    as_json: Json = False,
) -> None:
    """Make one static site of many campaigns: arms over backbones, and a page each. For GitHub Pages, HF Spaces."""
    from reports.publish.board import board as made
    from reports.publish.board import counted

    pages = made(folders, out, title)
    if as_json:
        print_json({"written": [str(page) for page in pages]})
        return
    console.print(f"{pages[0]}: {counted(len(pages) - 1)}")


@app.command()
def share(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")],
    to: Annotated[str, typer.Option("--to", help="A folder, or hf://datasets/OWNER/NAME, which uploads.")],
    licence: Annotated[str, typer.Option("--license", help="Of the data, by the hub's name for it.")] = "cc-by-4.0",
    private: Annotated[bool, typer.Option("--private", help="A new dataset on the hub is private.")] = False,
) -> None:
    """Write a campaign as a dataset: Parquet, manifest, a card with the numbers; upload it where --to is on the hub."""
    from reports.publish.share import share as shared

    console.print(shared(folder, to, licence, private))
