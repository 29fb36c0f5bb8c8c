"""The command that shows the progress of a campaign: `horizon status`."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType

from harness.cli.console.pace import span
from harness.cli.console.terminal import Json, app, console, line, print_json, table

if TYPE_CHECKING:
    from harness.campaign.status import Status
    from harness.store.store import Store

LOOK, LINE = 2.0, 60.0
"""Seconds between two reads of a folder on a terminal, and between two lines in a log."""
SHARE = 10
"""Least time between two reads of a folder, as a multiple of the time of one."""
SHOWN = 10
"""Most reasons of failures that are shown."""
WINDOW = 300.0
"""Seconds over which a rate is measured."""


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")] = Path("runs/compare"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until all is done: on a terminal live, elsewhere a line a minute.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of a campaign: cells by state, cells under way, reasons of stale cells, and the time left."""
    from harness.campaign.status import status as look
    from harness.store.abilities import abilities
    from harness.store.store import Store

    store = Store(folder)
    if watch and not as_json:
        _watch(store)
        return
    found = look(store)
    if as_json:
        told = dataclasses.asdict(found)
        told["troubles"] = [{"status": s, "reason": r, "cells": n} for (s, r), n in found.troubles.items()]
        print_json({"folder": str(folder), **told})
        return
    for part in _parts(store, found, None, most=len(found.troubles)):
        console.print(part, soft_wrap=True)
    if found.seconds_left is None and not found.held and not found.over:
        console.print("no process is running this campaign; the command that started it resumes it")
    if len({each.host for each in found.held}) > 1:
        console.print(line(abilities(folder, store.flight), "dim"), soft_wrap=True)


def _watch(store: Store) -> None:
    """Show a campaign again and again until no cell is left to run."""
    from rich.live import Live

    if not console.is_terminal:
        for found, rate in _looks(store, LINE, time.sleep):
            # A log is read while it grows.
            print(in_words(found, rate), flush=True)
        return
    with Live(console=console, auto_refresh=False) as live:
        for found, rate in _looks(store, LOOK, time.sleep):
            live.update(Group(*_parts(store, found, rate)), refresh=True)


def _looks(
    store: Store, every: float, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Status, float | None]]:
    """Yield the status of a campaign, with the latent frames per second of the last minutes, until all is done."""
    from harness.campaign.status import Known
    from harness.campaign.status import status as look

    known: Known = {}
    past: deque[tuple[float, int]] = deque()
    while True:
        began = clock()
        found = look(store, known=known)
        past.append((began, found.frames))
        while began - past[0][0] > WINDOW and len(past) > 2:
            past.popleft()
        passed = began - past[0][0]
        yield found, max(0, found.frames - past[0][1]) / passed if passed else None
        if found.over:
            return
        sleep(max(every, SHARE * (clock() - began)))


def in_words(found: Status, rate: float | None) -> str:
    """Return a status as one line for a log."""
    words = [", ".join(f"{count} {state}" for state, count in found.counts.items())]
    words.append(f"of {sum(found.counts.values())} cells, {len(found.held)} at work")
    words += [] if rate is None else [f"{rate:,.1f} latent frames/s"]
    words += [] if found.seconds_left is None else [f"about {span(found.seconds_left)} left"]
    for (state, reason), count in list(found.troubles.items())[:1]:
        words.append(f"{count} {state}: {reason}")
    return time.strftime("%Y-%m-%d %H:%M:%S ") + " · ".join(words)


def _parts(store: Store, found: Status, rate: float | None, most: int = SHOWN) -> Iterator[RenderableType]:
    total = sum(found.counts.values())
    told = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    yield line(f"{store.folder}: {told} of {total} cells")
    if len(found.machines) > 1:
        yield line("finished on " + ", ".join(f"{name}: {count}" for name, count in found.machines.items()))
    for reason, count in found.stale.items():
        yield line(f"stale, {count} cells: {reason}")
    for (state, reason), count in list(found.troubles.items())[:most]:
        yield line(f"{state}, {count} cells: {reason}", "red")
    if len(found.troubles) > most:
        yield line(f"... and {len(found.troubles) - most} other reasons", "red")
    if found.held:
        sheet = table("strategy", "suite", "process", "for", "latent frames")
        for each in found.held:
            done = f"{each.done:,} of {each.frames:,}" if each.done else f"of {each.frames:,}"
            sheet.add_row(each.arm, each.suite, f"{each.pid} on {each.host}", f"{each.seconds:,.0f} s", done)
        yield sheet
    speed = "" if rate is None else f"{rate:,.1f} latent frames/s; "
    if found.seconds_left is not None:
        yield line(f"{speed}about {found.seconds_left / 60:.1f} minutes left with {len(found.held)} at work")
    elif speed:
        yield line(speed.removesuffix("; "))
