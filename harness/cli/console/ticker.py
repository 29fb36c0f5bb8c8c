"""What a campaign says while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.cli.console.terminal import console, line, progress
from harness.escaping import terminal

if TYPE_CHECKING:
    from harness.campaign.expansion import Cell
    from harness.engines.cell_run import Progress as Step
    from harness.store.store import Status

STYLES = {"ok": "green", "skipped": "dim"}


class Ticker:
    """Live progress on a terminal; a line a cell elsewhere."""

    def __init__(self, planned: list[Cell]) -> None:
        self.total = sum(len(cell.task.rows) * cell.task.frames for cell in planned if cell.skip is None)
        self.cells, self.finished = len(planned), 0
        self.counts: dict[Status, int] = {}
        self.began = time.monotonic()
        self.rolled = 0
        self.bar = progress(disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=self.total, rate="")
        self.under_way: dict[str, int] = {}
        self.told: set[str] = set()

    def __enter__(self) -> Ticker:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: Step) -> None:
        """Some more latent frames of a cell are there. Of trouble that comes again it is told once."""
        if step.trouble and step.trouble not in self.told:
            self.told.add(step.trouble)
            self.warn(step.trouble)
        self.rolled += step.frames
        cell = step.cell
        self.under_way[cell.id] = self.under_way.get(cell.id, 0) + step.frames
        self.bar.update(
            self.task,
            advance=step.frames,
            description=terminal(f"{self.finished} of {self.cells} cells · {cell.arm.label}, {cell.task.scenario}"),
            rate=f"{self.rolled / (time.monotonic() - self.began):,.0f} latent frames/s",
        )

    def warn(self, text: str) -> None:
        """Something that must be seen, such as a worker that died."""
        self.bar.console.print(line(text, "yellow"), soft_wrap=True)

    def done(self, cell: Cell, status: Status, reason: str, kept: bool = False) -> None:
        """A cell is in the store; kept: since before this run."""
        self.finished += 1
        self.counts[status] = self.counts.get(status, 0) + 1
        whole = len(cell.task.rows) * cell.task.frames if cell.skip is None else 0
        self.bar.update(self.task, advance=whole - self.under_way.pop(cell.id, 0))
        if (status not in STYLES or not console.is_terminal) and not (kept and status in STYLES):
            task = cell.task
            state = f"kept, {status}" if kept else status
            told = f"{self.finished}/{self.cells} {state} {cell.arm.label} {task.scenario} {task.frames:,} {reason}"
            console.print(line(told.rstrip(), STYLES.get(status, "red")), soft_wrap=True)
