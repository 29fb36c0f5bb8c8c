"""The tables that a running campaign prints before it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness.cli.console.report_table import print_sheet
from harness.cli.console.terminal import console
from harness.errors import StoreError

FIRST, EVERY = 90.0, 120.0
"""Seconds until the first table, and from one table to the next."""
SHORT = 45.0
"""Seconds of work left below which no table is printed, since the finished one is near."""


class Preliminary:
    """Prints the main table over the finished cells of a campaign from time to time.

    Parameters
    ----------
    folder
        The campaign's folder.
    clock
        Returns the time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self.next = clock() + FIRST

    def due(self, left: float | None) -> bool:
        """Return whether a table should be printed now. left: expected seconds until the end, None where unknown."""
        return self.clock() >= self.next and (left is None or left >= SHORT)

    def show(self, finished: int, planned: int) -> None:
        """Print the table, if any arm has a number; the next one is due `EVERY` seconds later.

        Parameters
        ----------
        finished, planned
            Numbers of cells.
        """
        # Imported here, since pandas takes a second and short campaigns print no table.
        from reports.preliminary import preliminary

        try:
            sheet = preliminary(self.folder)
        except StoreError:
            # Nothing is finished, or another process is just writing: a later table will show it.
            sheet = None
        self.next = self.clock() + EVERY
        if sheet is not None:
            console.print(f"Preliminary, {finished} of {planned} cells:", style="bold yellow")
            print_sheet(sheet)
