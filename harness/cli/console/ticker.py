"""The progress of a running campaign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from harness.cli.console.pace import Pace
from harness.cli.console.terminal import aside, console, line, progress
from harness.escaping import terminal

if TYPE_CHECKING:
    from harness.campaign.expansion import Cell
    from harness.cli.console.preliminary import Preliminary
    from harness.engines.cell_run import Progress as Step
    from harness.store.store import Status

STYLES = {"ok": "green", "skipped": "dim"}


class Ticker:
    """Live progress on a terminal; elsewhere one line per cell, and regular lines on stderr.

    Parameters
    ----------
    planned
        All cells, in any order.
    kept
        Ids of the cells that will not be run, which take no time.
    aloud
        Whether lines are printed on stderr; False for a worker, whose last line is shown when it dies.
    table
        Prints tables of the finished cells from time to time; None for no tables.
    """

    def __init__(
        self,
        planned: list[Cell],
        kept: Collection[str] = (),
        aloud: bool = True,
        table: Preliminary | None = None,
    ) -> None:
        self.cells, self.finished, self.table = len(planned), 0, table
        self.counts: dict[Status, int] = {}
        work: Counter[str] = Counter()
        for cell in planned:
            work[cell.suite.name] += 0 if cell.id in kept else _frames(cell)
        self.pace = Pace(work)
        self.kept, self.aloud = frozenset(kept), aloud and not console.is_terminal
        self.rolled, self.warm = 0, False
        self.bar = progress(disable=not console.is_terminal, left=False)
        self.task = self.bar.add_task("", total=work.total(), rate="")
        self.under_way: dict[str, int] = {}
        self.told: set[str] = set()

    def __enter__(self) -> Ticker:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: Step) -> None:
        """Count further latent frames of a cell, and print its trouble, if any, once."""
        if step.trouble and step.trouble not in self.told:
            self.told.add(step.trouble)
            self.warn(step.trouble)
        cell = step.cell
        self.under_way[cell.id] = self.under_way.get(cell.id, 0) + step.frames
        self._advance(cell, step.frames)

    def _advance(self, cell: Cell, frames: int, earlier: bool = False) -> None:
        """Advance the bar by latent frames of a cell; without a terminal, print a line if one is due. earlier: whether
        they were given or rolled out by an earlier run, so that they say nothing about the speed of this one."""
        # The first chunk gives no rate: its time includes encoding prompts and starting workers.
        count = self.pace.advance if self.warm and not earlier else self.pace.pass_over
        count(cell.suite.name, frames)
        self.warm = self.warm or frames > 0
        self.rolled += 0 if earlier else frames
        rate = f"{self.rolled / max(self.pace.elapsed, 1e-3):,.0f} latent frames/s"
        now = terminal(f"{self.finished} of {self.cells} cells · {cell.arm.label}, {cell.task.scenario}")
        left = self.pace.in_words()
        self.bar.update(self.task, advance=frames, description=now, rate=left or rate)
        if self.aloud and self.pace.due():
            aside.print(line(f"{now} · {rate} · {left or 'no time known yet'}"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning, such as the death of a worker."""
        self.bar.console.print(line(text, "yellow"), soft_wrap=True)

    def done(self, cell: Cell, status: Status, reason: str, kept: bool = False) -> None:
        """Count a cell that is in the store, and print its line. kept: whether it was there before this run."""
        self.finished += 1
        self.counts[status] = self.counts.get(status, 0) + 1
        whole = 0 if cell.id in self.kept else _frames(cell)
        # `step` was not called for the frames of another process, nor for those with which a cell of this one began.
        mine = self.under_way.pop(cell.id, None)
        self._advance(cell, whole - (mine or 0), earlier=mine is not None)
        if (status not in STYLES or not console.is_terminal) and not (kept and status in STYLES):
            task = cell.task
            state = f"kept, {status}" if kept else status
            told = f"{self.finished}/{self.cells} {state} {cell.arm.label} {task.scenario} {task.frames:,} {reason}"
            console.print(line(told.rstrip(), STYLES.get(status, "red")), soft_wrap=True)
        if self.table is not None and self.table.due(self.pace.seconds_left()):
            self.table.show(self.finished, self.cells)


def _frames(cell: Cell) -> int:
    """Return the latent frames of all rollouts of a cell."""
    return 0 if cell.skip else len(cell.task.rows) * cell.task.frames
