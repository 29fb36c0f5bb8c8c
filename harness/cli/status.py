"""The command that shows the progress of a campaign: `horizon status`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console.terminal import Json, app, console, print_json, table


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")] = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Show the progress of a campaign: cells by state, cells under way, reasons of stale cells, and the time left."""
    from harness.campaign.status import status as look
    from harness.store.store import Store

    found = look(Store(folder))
    if as_json:
        told = dataclasses.asdict(found)
        told["troubles"] = [{"status": s, "reason": r, "cells": n} for (s, r), n in found.troubles.items()]
        print_json({"folder": str(folder), **told})
        return
    total = sum(found.counts.values())
    console.print(
        f"{folder}: {', '.join(f'{count} {state}' for state, count in found.counts.items())} of {total} cells"
    )
    for reason, count in found.stale.items():
        console.print(f"stale, {count} cells: {reason}", soft_wrap=True)
    for (state, reason), count in found.troubles.items():
        console.print(f"{state}, {count} cells: {reason}", soft_wrap=True)
    if found.held:
        sheet = table("strategy", "suite", "process", "for", "latent frames")
        for each in found.held:
            done = f"{each.done:,} of {each.frames:,}" if each.done else f"of {each.frames:,}"
            sheet.add_row(each.arm, each.suite, f"{each.pid} on {each.host}", f"{each.seconds:,.0f} s", done)
        console.print(sheet)
    if found.seconds_left is not None:
        console.print(f"about {found.seconds_left / 60:.1f} minutes left with {len(found.held)} at work")
    elif not found.held and {"waiting", "stale"} & set(found.counts):
        console.print("no process is running this campaign; the command that started it resumes it")
